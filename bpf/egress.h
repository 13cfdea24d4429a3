/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Out by another way than a backend's entry says: the kernel's routing and neighbour tables are asked. */
#ifndef PORTICO_EGRESS_H
#define PORTICO_EGRESS_H

#include <linux/bpf.h>
#include "encapsulate.h"
#include "hops.h"
#include "packet.h"

#define AF_INET 2
#define AF_INET6 10

/* What comes in there goes nowhere else; and what comes out of test-run does not depend on the machine. */
#define LOOPBACK_IFINDEX 1

/* A way, as `struct backend` has it. */
struct way {
	__u8 macs[12];   /* destination and own */
	__u32 ifindex;   /* 0: none found */
	__u32 ingress;   /* where the packet came in */
	__u32 is_narrow; /* there is one, but the packet is too long for it */
};

/*
 * The next hop to an address, for a packet that came in by `ingress`, which must forward (net.*.forwarding).
 * A packet that is too long for the way gets none either: the host's stack says so to its sender.
 */
static __always_inline struct way find_way(struct xdp_md *ctx, const void *source, const void *destination,
					   bool is_ipv6, __u32 length)
{
	struct bpf_fib_lookup question = {.family = is_ipv6 ? AF_INET6 : AF_INET, .tot_len = length};
	struct way way = {.ingress = ctx->ingress_ifindex};
	int answer;

	if (way.ingress == LOOPBACK_IFINDEX)
		return way;
	question.ifindex = way.ingress;
	if (is_ipv6) {
		copy_bytes_16(question.ipv6_src, source);
		copy_bytes_16(question.ipv6_dst, destination);
	} else {
		question.ipv4_src = *(const __be32 *)(source + 12);
		question.ipv4_dst = *(const __be32 *)(destination + 12);
	}
	answer = bpf_fib_lookup(ctx, &question, sizeof(question), 0);
	way.is_narrow = answer == BPF_FIB_LKUP_RET_FRAG_NEEDED;
	if (answer != BPF_FIB_LKUP_RET_SUCCESS)
		return way;
	__builtin_memcpy(way.macs, question.dmac, 6);
	__builtin_memcpy(way.macs + 6, question.smac, 6);
	way.ifindex = question.ifindex;
	return way;
}

#endif
