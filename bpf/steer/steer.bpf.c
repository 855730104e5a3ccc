//go:build ignore

/* Picks the socket of the shard that owns a datagram's session, among those that
 * share the media port (SO_ATTACH_REUSEPORT_EBPF, socket(7); the kernel's
 * net/core/filter.c, sk_reuseport). What it cannot decide, the kernel's hash does,
 * and the shard that gets it passes it on: the program saves that way, nothing else.
 */
#include "steer.h"
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

/* The shards' sockets, by index. */
struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, MAX_SHARDS);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

/* remote reads where a datagram came from. */
static __always_inline int remote(struct sk_reuseport_md *md, struct peer *from)
{
	__builtin_memset(from, 0, sizeof(*from));
	if (bpf_skb_load_bytes(md, __builtin_offsetof(struct udphdr, source), &from->port, sizeof(from->port)))
		return -1;
	if (md->eth_protocol == bpf_htons(ETH_P_IPV6))
		return bpf_skb_load_bytes_relative(md, __builtin_offsetof(struct ipv6hdr, saddr), from->ip, 16, BPF_HDR_START_NET);
	from->ip[10] = from->ip[11] = 0xff;
	return bpf_skb_load_bytes_relative(md, __builtin_offsetof(struct iphdr, saddr), from->ip + 12, 4, BPF_HDR_START_NET);
}

SEC("sk_reuseport")
int steer(struct sk_reuseport_md *md)
{
	struct peer from;
	if (remote(md, &from))
		return SK_PASS;
	__u32 shard = shard_of(md, sizeof(struct udphdr), &from);
	bpf_sk_select_reuseport(md, &sockets, &shard, 0); /* no such shard: nothing selected */
	return SK_PASS;
}
