/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The control run of the lab's attack: in front of the root program, drops what the attacker sends, told by
 * the prefixes that only it has (src/lab/attack/attack-frames.ts), and hands everything else on.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define IPV4_SOURCE 26
#define IPV6_SOURCE 22

/* Element 0: the program that would be there otherwise. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

/* 198.18.64.0/18, 2001:db8:bad::/48 */
static bool is_attack(const __u8 *frame, const __u8 *end)
{
	__u16 type;

	if (frame + IPV4_SOURCE + 6 > end)
		return false;
	type = frame[12] << 8 | frame[13];
	if (type == ETH_P_IP) {
		const __u8 *source = frame + IPV4_SOURCE;

		return source[0] == 198 && source[1] == 18 && (source[2] & 0xc0) == 64;
	}
	if (type == ETH_P_IPV6) {
		const __u8 *source = frame + IPV6_SOURCE;

		return source[0] == 0x20 && source[1] == 0x01 && source[2] == 0x0d && source[3] == 0xb8 &&
		       source[4] == 0x0b && source[5] == 0xad;
	}
	return false;
}

SEC("xdp.frags")
int drop(struct xdp_md *ctx)
{
	const __u8 *frame = (const __u8 *)(long)ctx->data;
	const __u8 *end = (const __u8 *)(long)ctx->data_end;

	if (is_attack(frame, end))
		return XDP_DROP;
	bpf_tail_call(ctx, &next, 0);
	return XDP_ABORTED; /* nothing is there to hand on to */
}
