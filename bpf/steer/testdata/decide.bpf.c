/* The decision of steer.h for BPF_PROG_TEST_RUN, which cannot run programs of
 * type sk_reuseport: a packet is a struct peer followed by a UDP payload, the
 * return value the shard.
 */
#include "../steer.h"

SEC("tc")
int decide(struct __sk_buff *skb)
{
	struct peer from;
	if (bpf_skb_load_bytes(skb, 0, &from, sizeof(from)))
		return NOWHERE;
	return shard_of(skb, sizeof(from), &from);
}
