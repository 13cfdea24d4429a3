/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What is attached to an interface: offers each packet to the roles of this machine, the first of which that
 * is there. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "roles.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("xdp.frags")
int root(struct xdp_md *ctx)
{
	/* A tail call does not come back; without a program in that place it does nothing. */
	bpf_tail_call(ctx, &roles, ROLE_BALANCER);
	bpf_tail_call(ctx, &roles, ROLE_DNS);
	bpf_tail_call(ctx, &roles, ROLE_BACKEND);
	return XDP_PASS;
}
