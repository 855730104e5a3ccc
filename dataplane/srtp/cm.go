package srtp

import (
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// Scratch is what the transforms work in. One serves all contexts of a shard.
type Scratch struct {
	Vectors bool // wish for package aesgcm's vector instructions, of contexts made from now on

	iv   [gcmSalt]byte
	aad  [rtcpHeader + indexWord]byte
	rtp  rtp.Header
	rtcp rtcp.Header
}

// cm is AES128_CM_HMAC_SHA1_80 (RFC 3711 sections 4.1.1 and 4.2.1) by pion/srtp.
type cm struct {
	context *srtp.Context
	scratch *Scratch
}

func newCM(key, salt []byte, scratch *Scratch) (*cm, error) {
	context, err := srtp.CreateContext(key, salt, srtp.ProtectionProfileAes128CmHmacSha1_80)
	return &cm{context, scratch}, err
}

//hot:path
func (c *cm) protectRTP(b []byte, header int, payload []byte, ssrc uint32, index uint64) int {
	n := header + copy(b[header:], payload)
	c.context.SetROC(ssrc, uint32(index>>16))
	out, err := c.context.EncryptRTP(b[:0], b[:n], &c.scratch.rtp)
	if err != nil {
		return 0
	}
	return len(out)
}

//hot:path
func (c *cm) unprotectRTP(b []byte, ssrc uint32, index uint64, known bool) ([]byte, bool) {
	if known {
		c.context.SetROC(ssrc, uint32(index>>16))
	}
	plain, err := c.context.DecryptRTP(b[:0], b, &c.scratch.rtp)
	return plain, err == nil
}

//hot:path
func (c *cm) protectRTCP(b []byte, n int, ssrc, index uint32) int {
	c.context.SetIndex(ssrc, index-1) // pion counts up before it uses it
	out, err := c.context.EncryptRTCP(b[:0], b[:n], &c.scratch.rtcp)
	if err != nil {
		return 0
	}
	return len(out)
}

//hot:path
func (c *cm) unprotectRTCP(b []byte) ([]byte, bool) {
	plain, err := c.context.DecryptRTCP(b[:0], b, &c.scratch.rtcp)
	return plain, err == nil
}
