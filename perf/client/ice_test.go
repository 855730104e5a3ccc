package client

import (
	"testing"

	"github.com/pion/stun/v4"
)

// peers are two clients that know each other's credentials, as a client and a full-agent server do.
func peers(t *testing.T) (client, server *Conn) {
	client, server = pair(t)
	client.agent = agent{localUfrag: "cu", localPwd: "client-password", remoteUfrag: "su", remotePwd: "server-password"}
	server.agent = agent{localUfrag: "su", localPwd: "server-password", remoteUfrag: "cu", remotePwd: "client-password"}
	return client, server
}

func TestCheckIsAnswered(t *testing.T) {
	client, server := peers(t)
	if err := client.Check(); err != nil {
		t.Fatal(err)
	}
	request := receive(t, server, 1)[0]
	m := &stun.Message{Raw: request}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	for _, attr := range []stun.AttrType{stun.AttrUseCandidate, stun.AttrICEControlling, stun.AttrPriority, stun.AttrFingerprint} {
		if !m.Contains(attr) {
			t.Errorf("check lacks %v", attr)
		}
	}
	if err := server.HandleSTUN(request); err != nil {
		t.Fatal(err)
	}
	if err := client.HandleSTUN(receive(t, client, 1)[0]); err != nil {
		t.Fatal(err)
	}
	if !client.agent.answered {
		t.Fatal("the answer was not taken")
	}
}

func TestAnswerWithAForeignPasswordIsIgnored(t *testing.T) {
	client, server := peers(t)
	if err := client.Check(); err != nil {
		t.Fatal(err)
	}
	request := receive(t, server, 1)[0]
	client.agent.remotePwd = "another-password"
	if err := server.HandleSTUN(request); err != nil {
		t.Fatal(err)
	}
	if err := client.HandleSTUN(receive(t, client, 1)[0]); err != nil {
		t.Fatal(err)
	}
	if client.agent.answered {
		t.Fatal("an answer with a wrong password was taken")
	}
}

func TestUnauthenticCheckGetsNoAnswer(t *testing.T) {
	for name, spoil := range map[string]func(*agent){
		"password": func(a *agent) { a.remotePwd = "another-password" },
		"username": func(a *agent) { a.remoteUfrag = "xx" },
	} {
		t.Run(name, func(t *testing.T) {
			client, server := peers(t)
			spoil(&client.agent)
			if err := client.Check(); err != nil {
				t.Fatal(err)
			}
			if err := server.HandleSTUN(receive(t, server, 1)[0]); err != nil {
				t.Fatal(err)
			}
			if err := server.Send([]byte("sentinel")); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, client, 1); string(got[0]) != "sentinel" {
				t.Fatalf("got %x, want no answer", got[0])
			}
		})
	}
}

func TestHandleSTUNPassesOverRubbish(t *testing.T) {
	client, _ := peers(t)
	for _, p := range [][]byte{{}, {0}, {0, 1, 0, 0}, make([]byte, 20), make([]byte, 100)} {
		if err := client.HandleSTUN(p); err != nil {
			t.Errorf("%x: %v", p, err)
		}
	}
}
