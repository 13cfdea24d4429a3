/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Before each turn of a test-run: makes the packet, which the last turn has changed, a query again - the next
 * of many - and goes on to the program of the first place, which is the one that is measured, or `nothing`.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define FRAME_BYTES 248

struct frame {
	__u32 length;
	__u32 zero;
	__u8 bytes[FRAME_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frame);
} frames SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target SEC(".maps");

__u32 turns SEC(".data") = 0;
const volatile __u32 frame_mask = 0;

SEC("xdp.frags")
int turn(struct xdp_md *ctx)
{
	__u32 index = turns++ & frame_mask;
	struct frame *frame = bpf_map_lookup_elem(&frames, &index);
	__u32 length;

	if (!frame)
		return XDP_ABORTED;
	length = frame->length;
	if (length < 1 || length > FRAME_BYTES)
		return XDP_ABORTED;
	if (bpf_xdp_adjust_tail(ctx, (int)length - (int)bpf_xdp_get_buff_len(ctx)))
		return XDP_ABORTED;
	if (bpf_xdp_store_bytes(ctx, 0, frame->bytes, length))
		return XDP_ABORTED;
	/*
	 * A device leaves a packet in the cache; what the CPU itself has just written would still be on its
	 * way there, and each load of it would wait. The clock waits for all loads before it.
	 */
	for (int i = 0; i < 4; i++)
		bpf_ktime_get_ns();
	bpf_tail_call(ctx, &target, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int nothing(struct xdp_md *ctx)
{
	return XDP_TX;
}
