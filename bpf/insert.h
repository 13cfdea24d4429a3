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
	/* The answer: another CPU was first to enter the flow, for what stands in `backend` now. */
	__u8 is_followed;
	__u8 is_udp; /* and shows no beginning */
	/* Bits of enum event, and EVENT_CAS_LOST, which can happen more than once. */
	__u32 events;
	__u32 lost_swaps;
};

enum insertion {
	INSERTION_DONE,
	INSERTION_NO_ROOM,
	INSERTION_LOST,     /* another CPU was first */
	INSERTION_FOLLOWED, /* another CPU has entered the same flow meanwhile, maybe for another backend */
};

/* In place of the flow's own entry, or where there is room. */
static __always_inline enum insertion insert_once(struct newcomer *new, bool has_entry, bool may_expire)
{
	__u32 now = new->clock >> TICK_SHIFT;
	struct entry entry = {};

	if (has_entry)
		entry = find_entry(&new->flow);
	if (!entry.place)
		entry = find_room(&new->flow, now, new->reclaim_ticks, may_expire);
	if (!entry.place)
		return INSERTION_NO_ROOM;
	if (exchange_entry(&entry, make_entry(new->flow.fingerprint, now, new->state, new->backend)))
		return INSERTION_DONE;
	new->lost_swaps++;
	return INSERTION_LOST;
}

/*
 * After a lost swap the flow may have an entry. A young one is the winner's: both packets go to its backend.
 * Where both buckets are full, what is expired is replaced. A global function, as both are rare: the verifier
 * judges it once.
 */
__attribute__((noinline)) int insert_again(struct newcomer *new)
{
	struct entry entry;

	if (!new)
		return INSERTION_NO_ROOM;
	entry = find_entry(&new->flow);
	if (!entry.place || entry_age(entry.word, new->clock >> TICK_SHIFT) > YOUNG_TICKS)
		return insert_once(new, true, true);
	new->backend = entry_backend(entry.word);
	new->is_followed = true;
	return INSERTION_FOLLOWED;
}

/* Pressure is for flows that need room; one that writes over its own entry takes none. */
static __always_inline bool try_insert(struct newcomer *new, const struct service *service,
				       const struct pressure *pressure, struct pressure_time time)
{
	__u32 insertion;

	if (!new->has_entry && !has_room(pressure, service, time))
		return false;
	insertion = insert_once(new, new->has_entry, false);
	if (insertion == INSERTION_NO_ROOM)
		insertion = insert_again(new);
	for (int attempt = 1; attempt < MAX_INSERT_ATTEMPTS && insertion == INSERTION_LOST; attempt++)
		insertion = insert_again(new);
	if (insertion == INSERTION_DONE || insertion == INSERTION_FOLLOWED)
		return true;
	new->events = 1 << EVENT_REFUSED_FULL;
	return false;
}

/* A flow of UDP that is not entered looks new when it can be: it goes on where it went meanwhile. */
static __always_inline void prolong_adoption(struct pressure *pressure, const struct newcomer *new)
{
	__u32 until = (__u32)(new->clock >> FINE_SHIFT) + pressure->adopt_for;

	if (new->is_udp && pressure->adopt_for && (__s32)(until - pressure->adopt_until) > 0)
		pressure->adopt_until = until;
}

/* False: not inserted; the event says why. A global function, so that the verifier judges it once, and what
 * comes after it not for each of its ways. */
__attribute__((noinline)) bool insert_flow(struct newcomer *new, const struct service *service)
{
	struct pressure_time time;
	struct pressure *pressure;
	__u32 subject;

	if (!new || !service)
		return false;
	subject = service->subject; /* kernels before 6.2 take no key from an argument's memory */
	time = pressure_time(service, new->clock);
	pressure = bpf_map_lookup_elem(&pressures, &subject);
	if (!pressure)
		return false;
	new->events = 1 << EVENT_REFUSED_PRESSURE;
	if (!try_insert(new, service, pressure, time)) {
		prolong_adoption(pressure, new);
		return false;
	}
	new->events = 0;
	if (new->is_followed)
		return true;
	new->events = 1 << (new->is_takeover ? EVENT_REPLACED : EVENT_INSERTED);
	if (!new->is_takeover)
		count_tracked(pressure, time);
	return true;
}

#endif
