package srtp

import (
	"testing"

	"sluice/dataplane/msg"
)

// BenchmarkProtectRTP is the cost of one forwarded packet of 1150 bytes, with as
// many keys as a stream has viewers.
func BenchmarkProtectRTP(b *testing.B) {
	for _, p := range []struct {
		name    string
		profile msg.Profile
	}{{"GCM128", msg.ProfileAES128GCM}, {"GCM256", msg.ProfileAES256GCM}, {"CM80", msg.ProfileAES128CMSHA180}} {
		b.Run(p.name, func(b *testing.B) {
			var scratch Scratch
			contexts := make([]*Context, 100)
			for i := range contexts {
				c, err := NewContext(&msg.Keys{Profile: p.profile, Local: msg.MasterKey{Key: [32]byte{byte(i)}}}, &scratch)
				if err != nil {
					b.Fatal(err)
				}
				contexts[i] = c
			}
			buf, payload := make([]byte, 1150+MaxOverhead), make([]byte, 1150-12)
			b.ReportAllocs()
			b.SetBytes(1150)
			for i := range b.N {
				clear(buf[:12])
				buf[0], buf[3] = 2<<6, byte(i)
				if contexts[i%100].ProtectRTP(buf, 12, payload, 0, uint64(i)&0xff) == 0 {
					b.Fatal("not protected")
				}
			}
		})
	}
}
