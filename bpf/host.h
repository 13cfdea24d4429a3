/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What is for a VIP but for none of its services may be for this host, if the VIP is an address of it. If it
 * is not and the host forwards, it would send the packet to the router that it came from, and that back here,
 * until its TTL ends: a sender could fill the link with few packets. So the kernel's tables are asked.
 */
#ifndef PORTICO_HOST_H
#define PORTICO_HOST_H

#include "egress.h"
#include "vip.h"

/* The verdict: pass, or drop where the host would only send it on. A global function, as in unsettled.h. */
__attribute__((noinline)) int verdict_of_host(struct xdp_md *ctx, const struct address *vip, __u32 is_ipv6)
{
	struct bpf_fib_lookup question = {.family = is_ipv6 ? AF_INET6 : AF_INET};
	int answer;

	if (!vip || ctx->ingress_ifindex == LOOPBACK_IFINDEX)
		return XDP_PASS;
	question.ifindex = ctx->ingress_ifindex;
	if (is_ipv6)
		copy_bytes_16(question.ipv6_dst, vip->bytes);
	else
		question.ipv4_dst = *(const __be32 *)(vip->bytes + 12);
	answer = bpf_fib_lookup(ctx, &question, sizeof(question), 0);
	/* An address of the host is "not forwarded"; and a host that does not forward has no way to loop. */
	return answer == BPF_FIB_LKUP_RET_NOT_FWDED || answer == BPF_FIB_LKUP_RET_FWD_DISABLED || answer < 0
		   ? XDP_PASS
		   : XDP_DROP;
}

static __always_inline enum outcome leave_to_host(const struct packet *packet, int *verdict,
						  enum outcome outcome)
{
	struct address vip;

	*verdict = XDP_DROP;
	if (!read_destination(packet, &vip))
		return outcome; /* never: its header has been read */
	*verdict = verdict_of_host(packet->ctx, &vip, packet->is_ipv6) == XDP_PASS ? XDP_PASS : XDP_DROP;
	return outcome;
}

#endif
