package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"sluice/dataplane/aesgcm"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

// gcm is the AEAD transform (RFC 7714).
type gcm struct {
	rtp, rtcp         cipher.AEAD
	rtpSalt, rtcpSalt [gcmSalt]byte
	scratch           *Scratch
}

const (
	gcmSalt    = aesgcm.NonceSize
	gcmTag     = aesgcm.TagSize
	indexWord  = 4 // the E bit and the SRTCP index, behind the tag
	rtcpHeader = 8 // what of RTCP stays in the clear
	encrypted  = 1 << 31
)

// derive sets the session salts and returns the session keys.
func (g *gcm) derive(key, salt []byte) (rtp, rtcp []byte, err error) {
	prf, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	rtp, rtcp = make([]byte, len(key)), make([]byte, len(key))
	expand(prf, salt, labelRTPKey, rtp)
	expand(prf, salt, labelRTCPKey, rtcp)
	expand(prf, salt, labelRTPSalt, g.rtpSalt[:])
	expand(prf, salt, labelRTCPSalt, g.rtcpSalt[:])
	return rtp, rtcp, nil
}

// newGCM has ciphers of the standard library.
func newGCM(key, salt []byte, scratch *Scratch) (*gcm, error) {
	g := &gcm{scratch: scratch}
	rtp, rtcp, err := g.derive(key, salt)
	if err != nil {
		return nil, err
	}
	if g.rtp, err = aesgcm.Standard(rtp); err != nil {
		return nil, err
	}
	g.rtcp, err = aesgcm.Standard(rtcp)
	return g, err
}

// vectors is a Context with ciphers of package aesgcm, all in one piece, so that
// what sending needs can be fetched ahead of that.
type vectors struct {
	sealing
	localRTCP, remoteRTP, remoteRTCP aesgcm.Vector
	remote                           gcm
}

// sealing is of what is sent to a viewer.
type sealing struct {
	Context
	local    gcm
	localRTP aesgcm.Vector
}

func newVectors(keys *msg.Keys, scratch *Scratch) (*Context, error) {
	v := &vectors{}
	if err := v.sealing.local.vector(&keys.Local, scratch, &v.localRTP, &v.localRTCP); err != nil {
		return nil, err
	}
	if err := v.remote.vector(&keys.Remote, scratch, &v.remoteRTP, &v.remoteRTCP); err != nil {
		return nil, err
	}
	v.Context = Context{&v.sealing.local, &v.remote}
	return &v.Context, nil
}

// vector makes it one direction of vectors.
func (g *gcm) vector(k *msg.MasterKey, scratch *Scratch, rtp, rtcp *aesgcm.Vector) error {
	rtpKey, rtcpKey, err := g.derive(k.Key[:aesgcm.KeySize], k.Salt[:gcmSalt])
	if err != nil {
		return err
	}
	rtp.Expand((*[aesgcm.KeySize]byte)(rtpKey))
	rtcp.Expand((*[aesgcm.KeySize]byte)(rtcpKey))
	g.rtp, g.rtcp, g.scratch = rtp, rtcp, scratch
	return nil
}

// Labels of the key derivation (RFC 3711 section 4.3.2).
const (
	labelRTPKey   = 0
	labelRTPSalt  = 2
	labelRTCPKey  = 3
	labelRTCPSalt = 5
)

// expand fills out with a session key or salt: AES in counter mode over the
// master salt with the label in it (RFC 3711 section 4.3.3; for the 12-byte salts
// of GCM padded on the right, RFC 7714 section 11).
func expand(prf cipher.Block, salt []byte, label byte, out []byte) {
	var counter [aes.BlockSize]byte
	copy(counter[:], salt)
	counter[7] ^= label
	clear(out)
	cipher.NewCTR(prf, counter[:]).XORKeyStream(out, out)
}

// iv makes the IV of a packet, whose index has 48 bits (RFC 7714 section 8.1), or
// of a compound, whose has 31 (section 9.1). Two words, as the cipher reads it.
//
//hot:path
func (g *gcm) iv(salt *[gcmSalt]byte, ssrc uint32, index uint64) []byte {
	iv := g.scratch.iv[:]
	binary.BigEndian.PutUint64(iv, binary.BigEndian.Uint64(salt[:])^(uint64(ssrc)<<16|index>>32))
	binary.BigEndian.PutUint32(iv[8:], binary.BigEndian.Uint32(salt[8:])^uint32(index))
	return iv
}

//hot:path
func (g *gcm) protectRTP(b []byte, header int, payload []byte, ssrc uint32, index uint64) int {
	g.rtp.Seal(b[header:header], g.iv(&g.rtpSalt, ssrc, index), payload, b[:header])
	return header + len(payload) + gcmTag
}

//hot:path
func (g *gcm) unprotectRTP(b []byte, ssrc uint32, index uint64, _ bool) ([]byte, bool) {
	var h wire.RTP
	if !wire.ParseRTP(b, &h) || len(b)-h.HeaderLen < gcmTag {
		return nil, false
	}
	payload := b[h.HeaderLen:]
	_, err := g.rtp.Open(payload[:0], g.iv(&g.rtpSalt, ssrc, index), payload, b[:h.HeaderLen])
	return b[:len(b)-gcmTag], err == nil
}

// rtcpAAD is what is authenticated but not encrypted: the header and the index
// word (RFC 7714 section 9.2).
//
//hot:path
func (g *gcm) rtcpAAD(header, word []byte) []byte {
	aad := g.scratch.aad[:]
	copy(aad, header)
	copy(aad[rtcpHeader:], word)
	return aad
}

//hot:path
func (g *gcm) protectRTCP(b []byte, n int, ssrc, index uint32) int {
	if n < rtcpHeader {
		return 0
	}
	word := b[n+gcmTag : n+gcmTag+indexWord]
	binary.BigEndian.PutUint32(word, index|encrypted)
	body := b[rtcpHeader:n]
	g.rtcp.Seal(body[:0], g.iv(&g.rtcpSalt, ssrc, uint64(index)), body, g.rtcpAAD(b[:rtcpHeader], word))
	return n + gcmTag + indexWord
}

// unprotectRTCP takes encrypted compounds only: WebRTC negotiates no others.
//
//hot:path
func (g *gcm) unprotectRTCP(b []byte) ([]byte, bool) {
	end := len(b) - indexWord
	if end < rtcpHeader+gcmTag {
		return nil, false
	}
	word := binary.BigEndian.Uint32(b[end:])
	if word&encrypted == 0 {
		return nil, false
	}
	aad := g.rtcpAAD(b[:rtcpHeader], b[end:])
	body := b[rtcpHeader:end]
	_, err := g.rtcp.Open(body[:0], g.iv(&g.rtcpSalt, binary.BigEndian.Uint32(b[4:]), uint64(word&^encrypted)), body, aad)
	return b[:end-gcmTag], err == nil
}
