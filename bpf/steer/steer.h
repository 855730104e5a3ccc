/* Which shard a datagram belongs to: what user space decided, seen from the
 * kernel. The layouts here are the maps' ABI; steer.go mirrors them.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define MAX_SHARDS 64     /* what a ufrag's first character can name */
#define UFRAG_LEN 8
#define NOWHERE (-1)      /* leave it to the kernel's hash */

/* A peer's address as the data plane writes it: IPv4 is mapped into IPv6. */
struct peer {
	__u8 ip[16];
	__be16 port;
	__u16 zero;
};

/* Where each peer's datagrams belong, written by the shards. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* set when loaded: grows with limits/sessions */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct peer);
	__type(value, __u32);
} peers SEC(".maps");

/* STUN (RFC 8489 sections 5 and 14): what a binding request begins with, and
 * how its attributes lie behind each other.
 */
struct stun_header {
	__be16 type;
	__be16 length;
	__be32 cookie;
	__u8 transaction[12];
};

struct stun_attribute {
	__be16 type;
	__be16 length;
};

#define STUN_BINDING_REQUEST 0x0001
#define STUN_COOKIE 0x2112a442
#define STUN_USERNAME 0x0006
#define STUN_ATTRIBUTES 8 /* that are looked through; peers put USERNAME first */

/* tag_value is the shard that a character of a ufrag names (the alphabet of
 * RFC 8839 section 5.4 in dataplane/ice's order).
 */
static __always_inline int tag_value(__u8 c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	return NOWHERE;
}

/* tagged_shard is the shard that the ufrag of a connectivity check names; at is
 * where the UDP payload begins.
 */
static __always_inline int tagged_shard(void *ctx, __u32 at)
{
	struct stun_header h;
	if (bpf_skb_load_bytes(ctx, at, &h, sizeof(h)))
		return NOWHERE;
	if (h.type != bpf_htons(STUN_BINDING_REQUEST) || h.cookie != bpf_htonl(STUN_COOKIE))
		return NOWHERE;
	at += sizeof(h);
	for (int i = 0; i < STUN_ATTRIBUTES; i++) {
		struct stun_attribute a;
		__u8 ufrag[UFRAG_LEN + 1]; /* with the colon before the peer's own */
		if (bpf_skb_load_bytes(ctx, at, &a, sizeof(a)))
			return NOWHERE;
		at += sizeof(a);
		if (a.type != bpf_htons(STUN_USERNAME)) {
			at += (bpf_ntohs(a.length) + 3) & ~3;
			continue;
		}
		if (bpf_ntohs(a.length) < sizeof(ufrag) || bpf_skb_load_bytes(ctx, at, ufrag, sizeof(ufrag)))
			return NOWHERE;
		return ufrag[UFRAG_LEN] == ':' ? tag_value(ufrag[0]) : NOWHERE;
	}
	return NOWHERE;
}

/* shard_of decides about a datagram: by its peer, else by the ufrag it names. */
static __always_inline int shard_of(void *ctx, __u32 at, struct peer *from)
{
	__u32 *shard = bpf_map_lookup_elem(&peers, from);
	if (shard)
		return *shard;
	return tagged_shard(ctx, at);
}
