// Package dataplane is the only door to the packet path.
//
// # A packet's journey
//
//  1. The kernel puts a datagram into the socket of one shard (SO_REUSEPORT
//     spreads peers over shards by a hash; a Steerer picks their own). internal/poll wakes the shard's
//     thread; internal/udp reads everything that waits, with the kernel's
//     receive time and the local address.
//     What comes by TCP (ICE-TCP) internal/tcp cuts out of frames; a connection is
//     with the shard that its first check named, and from here on an address like
//     any other.
//  2. engine/datagram.go classifies it (wire.Classify, RFC 7983) and finds its
//     session by remote address; a check by the ufrag in it. What belongs to
//     another shard goes there through internal/ring (engine/relay.go).
//  3. STUN: engine/stun.go checks MESSAGE-INTEGRITY, answers, and tells ice
//     which address the peer has. DTLS: punted to the control plane, but only
//     from a checked address. RTCP: engine/rtcp.go.
//  4. RTP: engine/rtp.go finds the ingress, tests the replay list, decrypts in
//     place, commits the replay list, and keeps the plaintext once in the
//     route's history, numbered in the route's own space (rewrite.Splice).
//  5. engine/train.go makes packets of a burst equal by padding and may wait for
//     the rest of a frame. engine/fanout.go serves the route's viewers one after the other: each is a
//     cursor into the history. Its header is written (rewrite.Map), the payload
//     encrypted on its way from the history to the transmit batch, where the
//     packets of a burst line up as one run.
//  6. Other shards with viewers are cursors too; each packet goes once into
//     that shard's ring and there into a history of its own.
//  7. internal/udp sends the batch: a run is one UDP_SEGMENT message, several
//     share a sendmmsg. Between batches the loop looks what came meanwhile. What
//     the socket does not take waits in the history. internal/tcp writes what goes
//     to connections. One that takes no more leaves its viewers' cursors where they
//     are (engine/stream.go).
//
// Nothing on this way locks, allocates, logs or reads a clock.
package dataplane
