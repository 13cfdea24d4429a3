/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* New flows enter the connection table here. */
#ifndef PORTICO_INSERT_H
#define PORTICO_INSERT_H

#include "connections.h"
#include "maps.h"
#include "pressure.h"

#define MAX_INSERT_ATTEMPTS 3

struct newcomer {
	struct flow flow;
	__u64 clock;
	__u32 backend;
	__u32 state;
	__u32 reclaim_ticks;
	/* The flow has an entry already, to be written over. If that was valid, the flow was counted when it
	 * came. */
	__u8 has_entry;
	__u8 is_takeover;
	__u8 zero[2];
	/* The answer: bits of enum event, and EVENT_CAS_LOST, which can happen more than once. */
	__u32 events;
	__u32 lost_swaps;
};

/* Pressure is for flows that need room; one that writes over its own entry takes none. */
static __always_inline bool try_insert(struct newcomer *new, const struct service *service,
				       struct pressure *pressure, struct pressure_time time, __u32 now)
{
	__u64 word = make_entry(new->flow.fingerprint, now, new->state, new->backend);
	__u32 reclaim_ticks = new->reclaim_ticks;
	struct entry entry = {};

	if (new->has_entry)
		entry = find_entry(&new->flow);
	else if (!has_room(pressure, service, time))
		return false;
	for (int attempt = 0; attempt < MAX_INSERT_ATTEMPTS; attempt++) {
		if (!entry.place)
			entry = find_room(&new->flow, now, reclaim_ticks);
		if (!entry.place)
			break;
		if (exchange_entry(&entry, word))
			return true;
		new->lost_swaps++;
		entry = find_entry(&new->flow);
	}
	new->events = 1 << EVENT_REFUSED_FULL;
	return false;
}

/* False: not inserted; the event says why. */
static __always_inline bool insert_flow(struct newcomer *new, const struct service *service)
{
	struct pressure_time time;
	struct pressure *pressure;
	__u32 subject = service->subject; /* kernels before 6.2 take no key from an argument's memory */

	time = pressure_time(service, new->clock);
	pressure = bpf_map_lookup_elem(&pressures, &subject);
	if (!pressure)
		return false;
	new->events = 1 << EVENT_REFUSED_PRESSURE;
	if (!try_insert(new, service, pressure, time, new->clock >> TICK_SHIFT))
		return false;
	new->events = 1 << (new->is_takeover ? EVENT_REPLACED : EVENT_INSERTED);
	if (!new->is_takeover)
		count_tracked(pressure, time);
	return true;
}

#endif
