// Package srtp protects and unprotects RTP and RTCP (RFC 3711, RFC 7714).
//
// State, which must survive a restart, is flat and ours: Stream and Control
// hold indexes and replay lists, and an egress derives the index of what it
// sends from its extended sequence number. Context is derived from the keys:
// it holds the ciphers, here pion/srtp's with its own replay list off and told
// the rollover counter before each packet, so that its state decides nothing.
package srtp

import (
	"fmt"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"sluice/dataplane/msg"
)

// MaxOverhead is by how much protection can grow a packet: the GCM tag, and
// for SRTCP the index word.
const MaxOverhead = 16 + 4

// Scratch is what the ciphers parse headers into. One serves all contexts of a
// shard.
type Scratch struct {
	rtp  rtp.Header
	rtcp rtcp.Header
}

// Context holds a session's ciphers for both directions. Not safe for
// concurrent use.
type Context struct {
	local, remote *srtp.Context
	scratch       *Scratch
}

// NewContext derives the session keys (RFC 3711 section 4.3).
func NewContext(keys *msg.Keys, scratch *Scratch) (*Context, error) {
	local, err := newCipher(keys.Profile, &keys.Local)
	if err != nil {
		return nil, err
	}
	remote, err := newCipher(keys.Profile, &keys.Remote)
	if err != nil {
		return nil, err
	}
	return &Context{local: local, remote: remote, scratch: scratch}, nil
}

func newCipher(p msg.Profile, k *msg.MasterKey) (*srtp.Context, error) {
	profile := srtp.ProtectionProfile(p)
	keyLen, err := profile.KeyLen()
	if err != nil {
		return nil, fmt.Errorf("srtp profile %d: %w", p, err)
	}
	saltLen, err := profile.SaltLen()
	if err != nil {
		return nil, fmt.Errorf("srtp profile %d: %w", p, err)
	}
	return srtp.CreateContext(k.Key[:keyLen], k.Salt[:saltLen], profile)
}

// ProtectRTP protects the packet b[:n] in place and returns its new length, 0
// on failure. b must have room for MaxOverhead more bytes. index is the
// packet's 48-bit SRTP index, whose lower 16 bits are the sequence number in
// the header; the caller must never pass the same one of an SSRC with
// different bytes.
//
//hot:path
func (c *Context) ProtectRTP(b []byte, n int, ssrc uint32, index uint64) int {
	c.local.SetROC(ssrc, uint32(index>>16))
	out, err := c.local.EncryptRTP(b[:0], b[:n], &c.scratch.rtp)
	if err != nil {
		return 0
	}
	return len(out)
}

// UnprotectRTP authenticates and decrypts a packet in place. known says that
// ssrc has passed before: only then is a cipher state kept for it ahead of
// authentication, so that forged SSRCs leave nothing behind.
//
//hot:path
func (c *Context) UnprotectRTP(b []byte, ssrc uint32, index uint64, known bool) (plain []byte, ok bool) {
	if known {
		c.remote.SetROC(ssrc, uint32(index>>16))
	}
	plain, err := c.remote.DecryptRTP(b[:0], b, &c.scratch.rtp)
	return plain, err == nil
}

// ProtectRTCP protects the compound b[:n] in place and returns its new length,
// 0 on failure. index is the 31-bit SRTCP index, never used twice.
//
//hot:path
func (c *Context) ProtectRTCP(b []byte, n int, ssrc, index uint32) int {
	c.local.SetIndex(ssrc, index-1) // pion counts up before it uses it
	out, err := c.local.EncryptRTCP(b[:0], b[:n], &c.scratch.rtcp)
	if err != nil {
		return 0
	}
	return len(out)
}

// UnprotectRTCP authenticates and decrypts a compound in place.
//
//hot:path
func (c *Context) UnprotectRTCP(b []byte) (plain []byte, ok bool) {
	plain, err := c.remote.DecryptRTCP(b[:0], b, &c.scratch.rtcp)
	return plain, err == nil
}
