package load

import (
	"testing"

	"sluice/perf/client"
)

// watcher is a sink that notes what it gets.
type watcher struct{ rtps, rtcps, ends int }

func (w *watcher) rtp([]byte, int64) { w.rtps++ }
func (w *watcher) rtcp([]byte)       { w.rtcps++ }
func (w *watcher) ended(string)      { w.ends++ }

func TestDatagrams(t *testing.T) {
	for name, c := range map[string]struct {
		first []byte
		want  watcher
	}{
		"RTP": {[]byte{0x80, 96}, watcher{rtps: 1}}, "RTCP": {[]byte{0x80, 200}, watcher{rtcps: 1}}, "alert": {[]byte{21, 254}, watcher{ends: 1}},
		"ChangeCipherSpec of a flight sent again": {[]byte{20, 254}, watcher{}}, "handshake record of it": {[]byte{22, 254}, watcher{}},
	} {
		var got watcher
		m := &member{sink: &got}
		m.datagram(client.Datagram{Data: c.first})
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
