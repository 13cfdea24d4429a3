/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* For the far end of a veth that packets are redirected or transmitted to: without a program there they are
 * lost. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("xdp.frags")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}
