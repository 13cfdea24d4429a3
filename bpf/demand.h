/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Where traffic comes from: new connections and bytes by client prefix (/24, /48) and service, for steering.
 * Both are picked at random, so that few packets pay. A place is whose key stands in it until user space
 * takes all of them (each second): nothing is evicted, and what finds no place counts as the service's rest,
 * so that nothing is lost in the sum.
 */
#ifndef PORTICO_DEMAND_H
#define PORTICO_DEMAND_H

#include "maps.h"
#include "mix-key.h"
#include "packet.h"
#include "prefixes.h"
#include "recent.h"

/* Of a service's packets, on each CPU, one in so many on average is picked. */
#define PACKETS_A_SAMPLE 256
/* So many new flows in a window of 2^4 jiffies (16 to 160 ms) are counted each, of further ones one in 64. */
#define FLOWS_EACH 64
#define FLOWS_A_SAMPLE 64
#define WINDOW_SHIFT 4

struct demand_use {
	__u64 key;
	__u64 bytes;
	__u32 connections;
	__u32 zero;
};

/* A global function, so that the verifier judges it once. */
__attribute__((noinline)) int add_demand(const struct demand_use *use)
{
	const struct settings *all = find_settings();
	struct demand_rest *rest;
	struct demand_set *set;
	__u32 index, subject;

	if (!use || !all)
		return 0;
	index = mix_key(use->key ^ all->key[0]) & (DEMAND_SETS - 1);
	set = bpf_map_lookup_elem(&demand_sets, &index);
	if (!set)
		return 0;
#pragma unroll
	for (__u32 way = 0; way < PREFIX_WAYS; way++) {
		__u64 holder = *(volatile __u64 *)&set->key[way];

		if (!holder)
			holder = __sync_val_compare_and_swap(&set->key[way], 0, use->key);
		if (holder && holder != use->key)
			continue;
		__sync_fetch_and_add(&set->connections[way], use->connections);
		__sync_fetch_and_add(&set->bytes[way], use->bytes);
		return 0;
	}
	subject = use->key >> PREFIX_SUBJECT_SHIFT & (MAX_SUBJECTS - 1);
	rest = bpf_map_lookup_elem(&demand_rests, &subject);
	if (rest) {
		__sync_fetch_and_add(&rest->connections, use->connections);
		__sync_fetch_and_add(&rest->bytes, use->bytes);
	}
	return 0;
}

/* What this CPU remembers of the service, of which that was handed out. */
static __always_inline struct recent_service *recent_of(const struct service *service)
{
	return (void *)service - __builtin_offsetof(struct recent_service, service);
}

/*
 * How many new flows the next one that is counted stands for: itself and those before it that are not. So the
 * sum is exact, and who sends in turns is met at no fixed step.
 */
static __always_inline __u32 next_step(struct recent_service *recent)
{
	__u32 window = bpf_jiffies64() >> WINDOW_SHIFT;

	if (recent->window != window) {
		recent->window = window;
		recent->in_window = 0;
	}
	if (recent->in_window < FLOWS_EACH) {
		recent->in_window++;
		return 1;
	}
	return 1 + ((__u64)bpf_get_prandom_u32() * (2 * FLOWS_A_SAMPLE - 1) >> 32);
}

static __always_inline void count_new_flow(const struct packet *packet, const struct settings *all,
					   const struct service *service)
{
	struct recent_service *recent = recent_of(service);
	struct demand_use use = {};

	if (!all->measures || (__s32)--recent->until_flow > 0)
		return;
	use.key = prefix_key(packet, service->subject);
	use.connections = recent->step ?: 1;
	recent->step = next_step(recent);
	recent->until_flow = recent->step;
	add_demand(&use);
}

static __always_inline void count_some_bytes(const struct packet *packet, const struct settings *all,
					     const struct service *service)
{
	struct recent_service *recent = recent_of(service);
	struct demand_use use = {};

	if ((__s32)--recent->until_packet > 0)
		return;
	recent->until_packet = 1 + ((__u64)bpf_get_prandom_u32() * (2 * PACKETS_A_SAMPLE - 1) >> 32);
	if (!all->measures)
		return;
	use.key = prefix_key(packet, service->subject);
	use.bytes = packet->ip_length * PACKETS_A_SAMPLE;
	add_demand(&use);
}

#endif
