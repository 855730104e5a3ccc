package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/pion/stun/v4"

	"sluice/perf/client"
)

// attack is one kind of flood: a ring of datagrams that are sent over and over.
type attack struct {
	name    string
	forged  bool // they carry headers of their own: somebody else's address
	packets [][]byte
}

const ring = 1024

// fill makes an attack of what packet says.
func fill(name string, packet func(i int) []byte) attack {
	a := attack{name: name}
	for i := range ring {
		a.packets = append(a.packets, packet(i))
	}
	return a
}

// attacks are those that a publisher's connection gives cause for.
func attacks(victim *client.Conn) ([]attack, error) {
	overheard, err := client.Overhear(victim.Local, victim.Remote, func(b []byte) bool {
		return len(b) > 500 && b[0]>>6 == 2 && !client.IsRTCP(b)
	})
	if err != nil {
		return nil, err
	}
	forged := fill("bad tags from the publisher's address", func(i int) []byte {
		return client.Forge(victim.Local, victim.Remote, badTag(overheard, i))
	})
	forged.forged = true
	integrity := fill("wrong MESSAGE-INTEGRITY", func(int) []byte { return badCheck(victim.Answer.Ufrag) })
	return []attack{
		fill("media from unknown addresses", func(int) []byte { return badMedia() }),
		integrity,
		fill("ClientHellos from unchecked addresses", hello),
		forged,
	}, nil
}

func badMedia() []byte {
	b := make([]byte, 200)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	b[0], b[1] = 0x80, 96
	return b
}

func badCheck(ufrag string) []byte {
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(ufrag+":nobody"),
		stun.RawAttribute{Type: stun.AttrUseCandidate}, stun.NewShortTermIntegrity("not the password of it"), stun.Fingerprint)
	if err != nil {
		panic("flood: a check of constants: " + err.Error())
	}
	return m.Raw
}

// hello is a whole ClientHello by its headers (RFC 6347 sections 4.1 and 4.2.2).
func hello(i int) []byte {
	const body = 200
	b := []byte{22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12 + body, 1, 0, 0, body, 0, 0, 0, 0, 0, 0, 0, body, 0xfe, 0xfd}
	binary.BigEndian.PutUint32(b[7:], uint32(i))
	return append(b, make([]byte, body-2)...)
}

// badTag is a packet that was overheard, or one of a stream that there is not, with a number ahead of it and a tag that is wrong.
func badTag(overheard []byte, i int) []byte {
	b := append([]byte(nil), overheard...)
	binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(b[2:])+uint16(i))
	if i%2 == 0 {
		binary.BigEndian.PutUint32(b[8:], rand.Uint32())
	}
	b[len(b)-1] ^= 1
	return b
}

const strangers = 8

// traffic is what attackers sent, and what came back.
type traffic struct {
	sent, sentBytes     uint64
	replies, replyBytes uint64
	largest             int // reply
}

// flood sends at a rate until the context is done.
func (a *attack) flood(ctx context.Context, victim *client.Conn, rate int) (t traffic, err error) {
	var from []*client.Conn
	defer func() {
		for _, c := range from {
			c.Abandon()
		}
	}()
	for range strangers {
		c, err := a.socket(victim)
		if err != nil {
			return t, err
		}
		from = append(from, c)
	}
	var room client.Batch
	start := time.Now()
	for i := 0; ctx.Err() == nil; {
		for due := uint64(time.Since(start).Seconds() * float64(rate)); t.sent < due; i++ {
			const burst = 32
			packets := a.packets[i*burst%ring:][:burst]
			if err := from[i%strangers].SendBatch(packets); err != nil {
				return t, err
			}
			t.sent += burst
			t.sentBytes += uint64(burst * len(packets[0]))
		}
		if err := t.hear(from, a.forged, &room); err != nil {
			return t, err
		}
		time.Sleep(500 * time.Microsecond)
	}
	time.Sleep(100 * time.Millisecond) // for the last replies
	return t, t.hear(from, a.forged, &room)
}

func (a *attack) socket(victim *client.Conn) (*client.Conn, error) {
	if a.forged {
		return client.Forger(victim.Remote)
	}
	return client.Stranger(victim.Local.Addr(), victim.Remote)
}

// hear takes the replies. Those to a forged address go to the victim.
func (t *traffic) hear(from []*client.Conn, forged bool, room *client.Batch) error {
	if forged {
		return nil
	}
	for _, c := range from {
		got, err := c.Recv(room)
		for ; len(got) > 0; got, err = c.Recv(room) {
			for _, d := range got {
				t.replies++
				t.replyBytes += uint64(len(d.Data))
				t.largest = max(t.largest, len(d.Data))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
