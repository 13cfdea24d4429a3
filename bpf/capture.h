/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Packets to look at, with what became of them. A packet that is chosen is copied as it comes; when it is
 * counted, copy and outcome go to user space together, through a ring that loses what it has no room for.
 * Nobody looks: one test a packet.
 */
#ifndef PORTICO_CAPTURE_H
#define PORTICO_CAPTURE_H

#include <bpf/bpf_endian.h>
#include "maps.h"
#include "wire.h"

#define CAPTURE_RING_BYTES (1 << 22)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, CAPTURE_RING_BYTES);
} captures SEC(".maps");

/* The copy in hand, through all parts of the program. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct captured);
} capture_copies SEC(".maps");

static __always_inline struct captured *find_copy(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&capture_copies, &only);
}

/* Whether the copy is for the address that is asked for; zeros ask for any. */
static __always_inline bool is_asked_for(const struct captured *copy, const struct settings *all)
{
	const __u64 *asked = (const __u64 *)all->capture_address;
	__u32 offset = ETHERNET_BYTES;
	__u16 type;

	if (!asked[1])
		return true;
	type = *(const __u16 *)(copy->bytes + offset - 2);
#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (type != bpf_htons(ETHERTYPE_VLAN) && type != bpf_htons(ETHERTYPE_QINQ))
			break;
		offset += VLAN_TAG_BYTES;
		type = *(const __u16 *)(copy->bytes + offset - 2);
	}
	if (type == bpf_htons(ETHERTYPE_IPV6)) {
		const __u32 *words = (const __u32 *)(copy->bytes + offset + 24);
		const __u32 *wanted = (const __u32 *)all->capture_address;

		return words[0] == wanted[0] && words[1] == wanted[1] && words[2] == wanted[2] &&
		       words[3] == wanted[3];
	}
	return type == bpf_htons(ETHERTYPE_IPV4) && !asked[0] &&
	       *(const __u32 *)(copy->bytes + offset + 16) == *(const __u32 *)(all->capture_address + 12);
}

/* A packet comes in: one in `capture_every` of those asked for is copied. */
__attribute__((noinline)) int begin_capture(struct xdp_md *ctx)
{
	const struct settings *all = find_settings();
	struct captured *copy = find_copy();
	__u32 bytes;

	if (!all || !copy)
		return 0;
	copy->is_armed = 0;
	copy->length = bpf_xdp_get_buff_len(ctx);
	bytes = copy->length < CAPTURE_BYTES ? copy->length : CAPTURE_BYTES;
	if (bytes < ETHERNET_BYTES || bytes > CAPTURE_BYTES || bpf_xdp_load_bytes(ctx, 0, copy->bytes, bytes))
		return 0;
	copy->captured = bytes;
	if (!is_asked_for(copy, all) || ++copy->turn < all->capture_every)
		return 0;
	copy->turn = 0;
	copy->clock_ns = bpf_ktime_get_ns();
	copy->ifindex = ctx->ingress_ifindex;
	copy->is_armed = 1;
	return 0;
}

/* It has been counted. Packets for no VIP are nobody's business here. */
__attribute__((noinline)) int end_capture(__u32 subject, __u32 outcome, __u32 backend, __u32 events)
{
	struct captured *copy = find_copy();

	if (!copy || !copy->is_armed)
		return 0;
	copy->is_armed = 0;
	if (!subject)
		return 0;
	copy->subject = subject;
	copy->outcome = outcome;
	copy->backend = backend;
	copy->events = events;
	copy->cpu = bpf_get_smp_processor_id();
	if (bpf_ringbuf_output(&captures, copy, sizeof(*copy), 0))
		copy->lost++;
	return 0;
}

#endif
