// Package srtp protects and unprotects RTP and RTCP (RFC 3711, RFC 7714).
//
// State, which must survive a restart, is flat and ours: Stream and Control
// hold indexes and replay lists, and an egress derives the index of what it
// sends from its extended sequence number. Context is derived from the keys and
// holds ciphers only. For the AEAD profiles they are package aesgcm's;
// for AES-CM they are pion/srtp's, with its own replay list off and told the
// rollover counter before each packet, so that its state decides nothing.
package srtp

import (
	"fmt"

	"sluice/dataplane/aesgcm"
	"sluice/dataplane/internal/prefetch"
	"sluice/dataplane/msg"
)

// MaxOverhead is by how much protection can grow a packet: the GCM tag, and
// for SRTCP the index word.
const MaxOverhead = 16 + 4

// Context holds a session's ciphers for both directions. Not safe for
// concurrent use.
type Context struct{ local, remote transform }

// transform is one direction of a session. In place, but for the payload of
// protectRTP: what goes in and what comes out share memory.
type transform interface {
	protectRTP(b []byte, header int, payload []byte, ssrc uint32, index uint64) int
	unprotectRTP(b []byte, ssrc uint32, index uint64, known bool) ([]byte, bool)
	protectRTCP(b []byte, n int, ssrc, index uint32) int
	unprotectRTCP(b []byte) ([]byte, bool)
}

// NewContext derives the session keys (RFC 3711 section 4.3).
func NewContext(keys *msg.Keys, scratch *Scratch) (*Context, error) {
	if keys.Profile == msg.ProfileAES128GCM && scratch.Vectors && aesgcm.Err == nil {
		return newVectors(keys, scratch)
	}
	local, err := newTransform(keys.Profile, &keys.Local, scratch)
	if err != nil {
		return nil, err
	}
	remote, err := newTransform(keys.Profile, &keys.Remote, scratch)
	if err != nil {
		return nil, err
	}
	return &Context{local, remote}, nil
}

// Fetch has the processor get what ProtectRTP needs, while it does something else.
// It does not look whether this is one of vectors: that would be to wait for it.
//
//hot:path
func (c *Context) Fetch() { prefetch.Whole[sealing](c) }

func newTransform(p msg.Profile, k *msg.MasterKey, scratch *Scratch) (transform, error) {
	switch p {
	case msg.ProfileAES128GCM:
		return newGCM(k.Key[:16], k.Salt[:12], scratch)
	case msg.ProfileAES256GCM:
		return newGCM(k.Key[:32], k.Salt[:12], scratch)
	case msg.ProfileAES128CMSHA180:
		return newCM(k.Key[:16], k.Salt[:14], scratch)
	}
	return nil, fmt.Errorf("srtp: profile %d is none of 1, 7, 8", p)
}

// ProtectRTP makes the packet with the header b[:header] and the payload, which
// lies behind it in b or elsewhere, a protected one in b, and returns its length,
// 0 on failure. b must have room for MaxOverhead more bytes. index is the
// packet's 48-bit SRTP index, whose lower 16 bits are the sequence number in
// the header; the caller must never pass the same one of an SSRC with
// different bytes.
//
//hot:path
func (c *Context) ProtectRTP(b []byte, header int, payload []byte, ssrc uint32, index uint64) int {
	return c.local.protectRTP(b, header, payload, ssrc, index)
}

// UnprotectRTP authenticates and decrypts a packet in place. known says that
// ssrc has passed before: only then may state be kept for it ahead of
// authentication, so that forged SSRCs leave nothing behind.
//
//hot:path
func (c *Context) UnprotectRTP(b []byte, ssrc uint32, index uint64, known bool) (plain []byte, ok bool) {
	return c.remote.unprotectRTP(b, ssrc, index, known)
}

// ProtectRTCP protects the compound b[:n] in place and returns its new length,
// 0 on failure. index is the 31-bit SRTCP index, never used twice.
//
//hot:path
func (c *Context) ProtectRTCP(b []byte, n int, ssrc, index uint32) int {
	return c.local.protectRTCP(b, n, ssrc, index)
}

// UnprotectRTCP authenticates and decrypts a compound in place.
//
//hot:path
func (c *Context) UnprotectRTCP(b []byte) (plain []byte, ok bool) {
	return c.remote.unprotectRTCP(b)
}
