/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which backend a packet of an unsettled slot goes to: the set of backends changes, the connection table is
 * asked, and a flow that it does not know goes to `previous`: untracked means previous.
 */
#ifndef PORTICO_UNSETTLED_H
#define PORTICO_UNSETTLED_H

#include "clock.h"
#include "connections.h"
#include "forward.h"
#include "insert.h"
#include "maps.h"
#include "packet.h"

/* An unsettled slot, as this packet sees it. */
struct slot {
	__u64 *place;
	__u64 word;
	__u32 current;
	__u32 previous;
	__u32 third;
	__u32 now; /* in ticks */
	__u64 clock;
};

static __always_inline void read_slot(struct slot *slot)
{
	slot->current = slot->word & INDEX_MASK;
	slot->previous = slot->word >> SLOT_PREVIOUS_SHIFT & INDEX_MASK;
	slot->third = slot->word >> SLOT_THIRD_SHIFT & INDEX_MASK;
	slot->clock = clock_ns();
	slot->now = slot->clock >> TICK_SHIFT;
}

static __always_inline bool is_candidate(const struct slot *slot, __u32 backend)
{
	return backend && (backend == slot->current || backend == slot->previous || backend == slot->third);
}

/* The slot remembers when a flow of it last was elsewhere than on current: it must be silent for long to
 * settle. */
static __always_inline void write_tick(const struct slot *slot)
{
	__u64 tick = slot->now & SLOT_TICK_MASK ?: 1;
	__u64 word = (slot->word & ~((__u64)SLOT_TICK_MASK << SLOT_TICK_SHIFT)) | tick << SLOT_TICK_SHIFT;

	if (word != slot->word)
		__sync_val_compare_and_swap(slot->place, slot->word, word);
}

static __always_inline __u32 add_other(__u32 others, __u32 candidate, __u32 chosen)
{
	if (candidate == chosen || candidate == others || others >> 16 || !is_alive(candidate))
		return others;
	return others << 16 | candidate;
}

/* The candidates that a backend with the agent may hand the packet on to, where the mode can say them. */
static __always_inline __u32 other_candidates(const struct slot *slot, const struct service *service,
					      __u32 chosen)
{
	const struct backend *backend = find_backend(chosen);
	__u32 others = 0;

	if (!backend || !(backend->flags & BACKEND_AGENT) ||
	    !can_name_others(forwarding_of(backend, service)))
		return 0;
	others = add_other(others, slot->previous, chosen);
	others = add_other(others, slot->current, chosen);
	others = add_other(others, slot->third, chosen);
	return others >> 16 ? others : others << 16;
}

/*
 * Enters a flow that may be new in the table. `own`: what the table has of it, old or not valid, if anything.
 * False: not entered; the events say why.
 */
static __always_inline bool track(struct packet *packet, const struct service *service,
				  const struct slot *slot, const struct flow *flow, const struct entry *own,
				  bool is_takeover, __u32 backend)
{
	struct newcomer new = {
	    .flow = *flow,
	    .service = *service,
	    .clock = slot->clock,
	    .backend = backend,
	    .has_entry = own->place != NULL,
	    .is_takeover = is_takeover,
	};
	bool is_inserted = insert_flow(&new);

	packet->events = new.events;
	packet->lost_swaps = new.lost_swaps;
	return is_inserted;
}

/* Is the service's adoption time not over? */
static __always_inline bool is_adopting(const struct service *service, __u64 clock)
{
	const struct pressure *pressure = bpf_map_lookup_elem(&pressures, &service->subject);

	return pressure && (__s32)((__u32)(clock >> FINE_SHIFT) - pressure->adopt_until) < 0;
}

static __always_inline enum outcome choose_candidate(struct packet *packet, const struct service *service,
						     const struct slot *slot, const struct flow *flow,
						     __u32 *backend)
{
	bool is_tcp = packet->protocol == PROTOCOL_TCP;
	bool is_syn = is_new_connection(packet);
	struct entry entry = find_entry(flow);
	__u32 owner = entry_backend(entry.word);
	__u32 age = entry_age(entry.word, slot->now);
	bool is_valid =
	    entry.place && age <= service->lifetime_ticks && is_candidate(slot, owner) && is_alive(owner);
	bool is_adopted;
	__u32 target;

	/* A SYN that meets a young entry is a retransmission; one that meets an old entry is a new
	 * connection. */
	if (is_valid && (!is_syn || age <= YOUNG_TICKS || owner == slot->current)) {
		touch_entry(&entry, slot->now, is_syn);
		*backend = owner;
		return OUTCOME_TRACKED;
	}
	*backend = is_alive(slot->previous) ? slot->previous : slot->current;
	if (packet->is_error || (is_tcp && !is_syn))
		return OUTCOME_UNTRACKED;
	is_adopted = !is_tcp && is_adopting(service, slot->clock);
	target = !is_adopted && is_alive(slot->current) ? slot->current : *backend;
	if (!target || !track(packet, service, slot, flow, &entry, is_valid, target))
		return OUTCOME_UNTRACKED;
	*backend = target;
	return is_adopted ? OUTCOME_ADOPTED : OUTCOME_NEW;
}

/*
 * The first bucket is a miss in cache and TLB, of some 150 ns where a million flows are tracked. Asked for
 * before the clock it is underway while that is read.
 */
static __always_inline void fetch_early(__u32 bucket_index)
{
	struct bucket *bucket = find_bucket(bucket_index);

	if (bucket)
		(void)*(volatile __u64 *)&bucket->entry[0];
}

/* `slot` has place and word. */
static __always_inline enum outcome select_unsettled(struct packet *packet, const struct service *service,
						     __u32 bucket_mask, struct slot *slot, __u64 h1, __u64 h2,
						     struct choice *choice)
{
	enum outcome outcome;
	struct flow flow;

	flow.first_bucket = first_bucket_of(h2, bucket_mask);
	flow.second_bucket = second_bucket_of(h1, flow.first_bucket, bucket_mask);
	fetch_early(flow.first_bucket);
	flow.fingerprint =
	    fingerprint_of(h2, service->salt, slot->word >> SLOT_GENERATION_SHIFT & SLOT_GENERATION_MASK);
	read_slot(slot);
	outcome = choose_candidate(packet, service, slot, &flow, &choice->backend);
	if (!choice->backend)
		return OUTCOME_NO_BACKEND;
	/* An untracked flow may live on another candidate, behind the second chance, wherever it is sent from
	 * here. */
	if (choice->backend != slot->current || outcome == OUTCOME_UNTRACKED)
		write_tick(slot);
	choice->key = other_candidates(slot, service, choice->backend);
	if (choice->key)
		packet->events |= 1 << EVENT_KEYED;
	return outcome;
}

#endif
