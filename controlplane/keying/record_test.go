package keying

import (
	"bytes"
	"testing"

	"github.com/pion/dtls/v3/pkg/protocol/recordlayer"
)

func TestWhatADatagramHolds(t *testing.T) {
	hello := fragment(0, clientHello, 0, 100, 50, make([]byte, 50))
	ccs := plaintext(changeCipherSpec, 3, 1)
	finished := plaintext(handshake, 0, make([]byte, 40)...)
	finished[4] = 1
	old := bytes.Clone(hello)
	old[2] = 0xff // DTLS 1.0, as first hellos say
	foreign := bytes.Clone(hello)
	foreign[1] = 3 // TLS
	short := plaintext(handshake, 0, clientHello, 0, 0)
	key := fragment(2, 16, 2, 40, 0, make([]byte, 40))

	for name, test := range map[string]struct {
		datagram               []byte
		readable, hello, again bool
	}{
		"empty":                   {nil, false, false, false},
		"hello":                   {hello, true, true, false},
		"hello of version 1.0":    {old, true, true, false},
		"hello of TLS":            {foreign, false, false, false},
		"cut hello":               {hello[:len(hello)-1], false, false, false},
		"hello and a byte":        {append(bytes.Clone(hello), 22), false, true, false},
		"short handshake":         {short, true, false, false},
		"key exchange":            {key, true, false, false},
		"whole last flight":       {join(key, ccs, finished), true, false, true},
		"ccs":                     {ccs, true, false, true},
		"finished":                {finished, true, false, true},
		"cut finished":            {finished[:30], false, false, false},
		"plain data":              {plaintext(applicationData, 0, 1), false, false, false},
		"hello with plain data":   {join(hello, plaintext(applicationData, 0, 1)), false, true, false},
		"plain alert":             {plaintext(alert, 0, 2, 40), true, false, false},
		"DTLS 1.3 unified header": {bytes.Repeat([]byte{0x2f}, 40), false, false, false},
		"empty ccs":               {plaintext(changeCipherSpec, 0), false, false, false},
		"heartbeat":               {plaintext(24, 0, 1), false, false, false},
	} {
		if got := readable(test.datagram); got != test.readable {
			t.Errorf("%s: readable %v", name, got)
		}
		if got := isClientHello(test.datagram); got != test.hello {
			t.Errorf("%s: a hello %v", name, got)
		}
		if got := repeatsLastFlight(test.datagram); got != test.again {
			t.Errorf("%s: a repeated last flight %v", name, got)
		}
	}
}

func join(datagrams ...[]byte) []byte { return bytes.Join(datagrams, nil) }

// Whatever counts as readable, pion splits into the same records.
func FuzzRecords(f *testing.F) {
	hello := fragment(0, clientHello, 0, 100, 50, make([]byte, 50))
	f.Add(hello)
	f.Add(join(hello, plaintext(changeCipherSpec, 3, 1), plaintext(alert, 1, 2, 40)))
	f.Add(plaintext(applicationData, 1, 'x'))
	f.Add(hello[:30])
	f.Add(plaintext(changeCipherSpec, 0))
	f.Add(join(plaintext(changeCipherSpec, 0), hello))
	f.Fuzz(func(t *testing.T, b []byte) {
		isClientHello(b)
		repeatsLastFlight(b)
		if !readable(b) {
			return
		}
		records, err := recordlayer.UnpackDatagram(b)
		if err != nil {
			t.Fatalf("pion says %v", err)
		}
		for rest := b; len(rest) > 0; records = records[1:] {
			r, tail, _ := nextRecord(rest)
			var header recordlayer.Header
			if err := header.Unmarshal(records[0]); err != nil {
				t.Fatal(err)
			}
			if uint8(header.ContentType) != r.kind || header.Epoch != r.epoch || len(records[0]) != recordHeader+len(r.body) {
				t.Fatalf("got %+v, pion has %+v", r, header)
			}
			rest = tail
		}
		if len(records) != 0 {
			t.Fatalf("pion sees %d records more", len(records))
		}
	})
}
