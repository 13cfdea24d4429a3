/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What is for a VIP but for none of its services may be for this host, if the VIP is an address of it. If it
 * is not and the host forwards, it would send the packet to the router that it came from, and that back here,
 * until its TTL ends: a sender could fill the link with few packets. So the kernel's tables are asked.
 */
#ifndef PORTICO_HOST_H
#define PORTICO_HOST_H

#include "egress.h"

/*
 * The verdict: pass, or drop where the host would only send it on. `high` and `low`: the VIP; of IPv4 the
 * lower half. A global function, as in unsettled.h.
 */
__attribute__((noinline)) int verdict_of_host(struct xdp_md *ctx, __u64 high, __u64 low, __u32 is_ipv6)
{
	struct bpf_fib_lookup question = {.family = is_ipv6 ? AF_INET6 : AF_INET};
	int answer;

	if (ctx->ingress_ifindex == LOOPBACK_IFINDEX)
		return XDP_PASS;
	question.ifindex = ctx->ingress_ifindex;
	if (is_ipv6) {
		question.ipv6_dst[0] = high;
		question.ipv6_dst[1] = high >> 32;
		question.ipv6_dst[2] = low;
		question.ipv6_dst[3] = low >> 32;
	} else {
		question.ipv4_dst = low;
	}
	answer = bpf_fib_lookup(ctx, &question, sizeof(question), 0);
	/* An address of the host is "not forwarded"; and a host that does not forward has no way to loop. */
	return answer == BPF_FIB_LKUP_RET_NOT_FWDED || answer == BPF_FIB_LKUP_RET_FWD_DISABLED || answer < 0
		   ? XDP_PASS
		   : XDP_DROP;
}

static __always_inline enum outcome leave_to_host(const struct packet *packet, int *verdict,
						  enum outcome outcome)
{
	__u64 high = 0, low;

	*verdict = XDP_DROP;
	if (packet->is_ipv6) {
		__u64 *words = packet->ip + 24;

		if (packet->ip + IPV6_BYTES > packet_end(packet))
			return outcome; /* never: its header has been read */
		high = words[0];
		low = words[1];
	} else {
		if (packet->ip + IPV4_BYTES > packet_end(packet))
			return outcome;
		low = ((struct ipv4 *)packet->ip)->destination;
	}
	if (verdict_of_host(packet->ctx, high, low, packet->is_ipv6) == XDP_PASS)
		*verdict = XDP_PASS;
	return outcome;
}

#endif
