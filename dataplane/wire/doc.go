// Package wire turns bytes into meaning and back, in place: which protocol a
// datagram speaks (RFC 7983), and length-checked views of STUN, RTP and RTCP.
//
// Hostile bytes meet this package first. Nothing here trusts a length field,
// allocates, or keeps a reference beyond the call.
package wire
