package keying

import "encoding/binary"

// The DTLS 1.2 record layer, as far as one must look without keys: RFC 6347
// section 4.1, with the content types of RFC 5246 section 6.2.1.
const (
	recordHeader    = 13
	handshakeHeader = 12

	changeCipherSpec = 20
	alert            = 21
	handshake        = 22
	applicationData  = 23

	clientHello = 1
)

type record struct {
	kind  uint8
	epoch uint16
	body  []byte
}

// nextRecord splits the first record off a datagram, which must not be empty
// (an empty one says nothing, and pion takes it for a broken datagram). The versions that pass are
// those of DTLS 1.0 and 1.2: a client that speaks 1.2 may put either.
func nextRecord(b []byte) (r record, rest []byte, ok bool) {
	if len(b) <= recordHeader {
		return r, nil, false
	}
	version := binary.BigEndian.Uint16(b[1:])
	end := recordHeader + int(binary.BigEndian.Uint16(b[11:]))
	known := changeCipherSpec <= b[0] && b[0] <= applicationData && (version == 0xfeff || version == 0xfefd)
	if !known || end == recordHeader || end > len(b) {
		return r, nil, false
	}
	r = record{kind: b[0], epoch: binary.BigEndian.Uint16(b[3:]), body: b[recordHeader:end]}
	return r, b[end:], true
}

// readable reports whether a datagram is worth a handshake's attention: whole
// records and nothing else, and no plaintext application data, which nobody
// sends but who wants it believed. Both are dropped without ending the
// handshake (RFC 6347 section 4.1.2.7).
func readable(b []byte) bool {
	for first := true; first || len(b) > 0; first = false {
		r, rest, ok := nextRecord(b)
		if !ok || r.kind == applicationData && r.epoch == 0 {
			return false
		}
		b = rest
	}
	return true
}

// isClientHello reports whether a datagram begins with a ClientHello or with
// any fragment of one: large hellos come in several datagrams, in any order.
func isClientHello(b []byte) bool {
	r, _, ok := nextRecord(b)
	return ok && r.kind == handshake && r.epoch == 0 && len(r.body) >= handshakeHeader && r.body[0] == clientHello
}

// repeatsLastFlight reports whether a datagram holds the end of the client's
// last flight, ChangeCipherSpec or Finished (a handshake record of epoch 1): the
// client says that again only until it has ours.
func repeatsLastFlight(b []byte) bool {
	for len(b) > 0 {
		r, rest, ok := nextRecord(b)
		if !ok {
			return false
		}
		if r.kind == changeCipherSpec && r.epoch == 0 || r.kind == handshake && r.epoch == 1 {
			return true
		}
		b = rest
	}
	return false
}
