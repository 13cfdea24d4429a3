/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Who gets a new flow where every flow is tracked. The slots' currents follow weights by their shares of the
 * table, so whatever is drawn from slots is weighted. */
#ifndef PORTICO_SCHEDULE_H
#define PORTICO_SCHEDULE_H

#include "maps.h"
#include "siphash.h"

/* So many turns are tried, where a backend has died and the pick table is not written yet. */
#define PICK_ATTEMPTS 3

/* The number of this pick; all CPUs take turns. */
static __always_inline __u32 take_turn(struct pressure *pressure)
{
	return __sync_fetch_and_add(&pressure->turn, 1);
}

static __always_inline __u32 pick_in_turn(const struct service *service, struct pressure *pressure)
{
	__u32 subject = service->subject; /* as in insert_flow */
	void *table = bpf_map_lookup_elem(&pick_tables, &subject);
	__u32 picks = *(volatile __u32 *)&pressure->picks;

	if (!table || !picks)
		return 0;
	for (int attempt = 0; attempt < PICK_ATTEMPTS; attempt++) {
		__u32 index = take_turn(pressure) % picks;
		__u64 *pick = bpf_map_lookup_elem(table, &index);
		__u32 backend = pick ? *(volatile __u64 *)pick : 0;

		if (is_alive(backend))
			return backend;
	}
	return 0;
}

/*
 * By the hash of the turn with the site's key: an outsider cannot tell what comes next, and the model can,
 * which the kernel's own random numbers would not allow.
 */
static __always_inline __u32 pick_at_random(const struct service *service, const struct settings *all,
					    struct pressure *pressure)
{
	__u32 subject = service->subject;
	void *table = bpf_map_lookup_elem(&slot_tables, &subject);
	struct siphash state;
	__u32 index;
	__u64 *slot;

	sip_start(&state, all->key);
	sip_word(&state, take_turn(pressure) | (__u64)service->subject << 32);
	sip_word(&state, 8ULL << 56);
	index = (sip_first_half(&state) >> 32) * service->slots >> 32;
	slot = table ? bpf_map_lookup_elem(table, &index) : NULL;
	return slot ? *(volatile __u64 *)slot & INDEX_MASK : 0;
}

/* Of active connections: what is below 0 for a moment counts as none. */
static __always_inline __u64 load_of(__u32 index)
{
	__s64 *active = bpf_map_lookup_elem(&active_connections, &index);
	__s64 count = active ? *(volatile __s64 *)active : 0;

	return count > 0 ? count : 0;
}

static __always_inline __u32 weight_of(__u32 index)
{
	const struct backend *backend = find_backend(index);

	return backend && backend->weight ? backend->weight : 1;
}

/* The less busy of two, by connections per weight; the first where they are equal. */
static __always_inline __u32 pick_less_busy(__u32 first, __u32 second)
{
	if (!is_alive(second) || first == second)
		return first;
	if (!is_alive(first))
		return second;
	return load_of(first) * weight_of(second) <= load_of(second) * weight_of(first) ? first : second;
}

/* 0: nobody. `first` and `second`: the currents of the flow's slots. A global function, so that the verifier
 * judges it once. */
__attribute__((noinline)) __u32 schedule(const struct service *service, const struct settings *all,
					 __u32 first, __u32 second)
{
	struct pressure *pressure;
	__u32 subject, picked = 0;

	if (!service || !all)
		return 0;
	subject = service->subject;
	pressure = bpf_map_lookup_elem(&pressures, &subject);
	if (!pressure)
		return 0;
	if (service->scheduler == SCHEDULER_ROUND_ROBIN)
		picked = pick_in_turn(service, pressure);
	else if (service->scheduler == SCHEDULER_RANDOM)
		picked = pick_at_random(service, all, pressure);
	else if (service->scheduler == SCHEDULER_LEAST_CONNECTIONS)
		picked = pick_less_busy(first, second);
	if (!is_alive(picked))
		picked = first;
	return is_alive(picked) ? picked : 0;
}

#endif
