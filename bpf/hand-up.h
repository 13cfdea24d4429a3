/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the programs do not do themselves they hand up to the slow path, in a ring buffer: the packet with
 * what is known of it. A program of its own does it, so that others stay small. A client's prefix may hand up
 * so many bytes in a window of time: it cannot fill the ring alone. What is not handed up is dropped.
 */
#ifndef PORTICO_HAND_UP_H
#define PORTICO_HAND_UP_H

#include "clock.h"
#include "count.h"
#include "forward.h"
#include "maps.h"
#include "parse.h"
#include "prefix.h"

/* Whole pages, a power of two. */
#define SLOW_PATH_BYTES (8 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SLOW_PATH_BYTES);
} slow_path SEC(".maps");

/* What the program that met the packet leaves for the one that takes it over. */
struct noted {
	struct hand_up about;
	__u32 outcome; /* enum outcome */
	__u32 subject; /* whose counters */
	__u32 events;
	__u32 lost_swaps;
	__u32 tcp_flags;
	__u32 is_relayed; /* the fragment in hand came from another balancer */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct noted);
} noted_packets SEC(".maps");

struct event_record {
	struct hand_up about;
	__u8 frame[HAND_UP_FRAME_BYTES];
};

/* By CPU: where a record is put together. The loader makes one for each. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event_record);
} event_records SEC(".maps");

static __always_inline struct noted *find_noted(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&noted_packets, &only);
}

/* Has the prefix bytes left in this window? Counts them. Approximate to a few packets when CPUs race. */
static __always_inline bool may_hand_up(__u32 region, __u32 bytes, __u32 limit, __u64 clock)
{
	__u64 *window = bpf_map_lookup_elem(&hand_up_windows, &region);
	__u32 name = clock >> FINE_SHIFT;
	__u64 old;

	if (!window)
		return false;
	old = *(volatile __u64 *)window;
	if (old >> 32 != name) {
		if (bytes > limit)
			return false;
		__sync_val_compare_and_swap(window, old, (__u64)name << 32 | bytes);
		return true;
	}
	if ((__u32)old + bytes > limit)
		return false;
	__sync_fetch_and_add(window, bytes);
	return true;
}

/* Into the ring; gives the bit of the event that it was. */
static __always_inline __u32 publish(struct packet *packet, const struct settings *all,
				     const struct hand_up *about)
{
	__u32 length = packet->ip_offset + packet->ip_length, cpu = bpf_get_smp_processor_id();
	__u32 region = prefix_region(hash_prefix(packet, all));
	struct event_record *record = bpf_map_lookup_elem(&event_records, &cpu);
	__u64 clock = clock_ns();

	if (!record)
		return EVENT_HAND_UP_FULL;
	if (!may_hand_up(region, length, all->hand_up_bytes, clock))
		return EVENT_HAND_UP_LIMITED;
	record->about = *about;
	record->about.clock_ns = clock;
	record->about.region = region;
	record->about.length = length;
	record->about.ingress_ifindex = packet->ctx->ingress_ifindex;
	/* The verifier must see the bounds of the value that the helpers get. */
	asm volatile("" : "+r"(length));
	if (length < ETHERNET_BYTES || length > HAND_UP_FRAME_BYTES ||
	    bpf_xdp_load_bytes(packet->ctx, 0, record->frame, length))
		return EVENT_HAND_UP_FULL;
	if (bpf_ringbuf_output(&slow_path, record, sizeof(record->about) + length, BPF_RB_NO_WAKEUP))
		return EVENT_HAND_UP_FULL;
	return EVENT_HANDED_UP;
}

/* Hands up the packet that another program noted, and counts it: a fragment over the bounds is one that is
 * not held.
 */
static __always_inline int hand_up_and_count(struct xdp_md *ctx)
{
	const struct settings *all = find_settings();
	struct noted *noted = find_noted();
	struct packet packet = {.ctx = ctx};
	__u32 outcome, event;

	if (!all || !noted || !parse_ip(&packet))
		return XDP_DROP;
	packet.subject = noted->subject;
	packet.lost_swaps = noted->lost_swaps;
	packet.tcp_flags = noted->tcp_flags;
	outcome = noted->outcome;
	event = publish(&packet, all, &noted->about);
	packet.events = noted->events | 1 << event;
	if (outcome == OUTCOME_FRAGMENT_HELD && event != EVENT_HANDED_UP)
		outcome = OUTCOME_FRAGMENT;
	if (outcome < OUTCOME_COUNT)
		count(&packet, all, outcome);
	return XDP_DROP;
}

/* Another program takes the packet over and counts it; comes back only if the kernel refuses. */
static __always_inline void hand_over_up(struct xdp_md *ctx);

/* The frame must be as it came, `about` filled but for what is the ring's. For the caller to return. */
static __always_inline enum outcome hand_up(const struct packet *packet, struct noted *noted,
					    enum outcome outcome)
{
	noted->outcome = outcome;
	noted->subject = packet->subject;
	noted->events = packet->events;
	noted->lost_swaps = packet->lost_swaps;
	noted->tcp_flags = packet->tcp_flags;
	hand_over_up(packet->ctx);
	return OUTCOME_FAILED;
}

/* It may be fragmented, which the slow path does. */
static __always_inline enum outcome hand_up_oversized(const struct packet *packet,
						      const struct choice *choice, enum reason reason)
{
	struct noted *noted = find_noted();

	if (!noted)
		return OUTCOME_FAILED;
	noted->about.datagram = 0;
	noted->about.bucket = 0;
	noted->about.check = 0;
	noted->about.reason = reason;
	noted->about.subject = packet->subject;
	noted->about.backend = choice->backend;
	noted->about.key = choice->key;
	noted->about.flow_label = choice->flow_label;
	return hand_up(packet, noted, OUTCOME_OVERSIZED);
}

#endif
