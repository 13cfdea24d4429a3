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
#include "siphash.h"

/*
 * What a way that asks the connection table needs to know of a packet, and what it answers beside the choice.
 * Those ways are global functions: each is judged by the verifier once, with a stack of its own, and takes
 * nothing from the stable path. A packet itself could not be passed to one. It lies in a map, as the stack
 * has no room for it beside the rest.
 */
struct question {
	__u64 h1;
	__u64 h2;             /* begin_tracking makes it */
	struct siphash state; /* of the hash of the flow, before its second half */
	__u32 slot_hash;      /* names the slot */
	__u8 is_tcp;          /* or QUIC: shows its beginning */
	__u8 is_new;          /* begins a connection */
	__u8 ends;            /* TCP_FIN, TCP_RST or both */
	__u8 is_error;
	/* The answer. */
	__u32 events;
	__u32 lost_swaps;
	struct newcomer new;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct question);
} questions SEC(".maps");

static __always_inline struct question *find_question(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&questions, &only);
}

/* An unsettled slot, as this packet sees it. */
struct slot {
	__u32 current;
	__u32 previous;
	__u32 third;
	__u32 now; /* in ticks */
};

/* Services have lifetimes of their own, and share buckets: what one finds old may be live for another. */
static __always_inline __u32 reclaim_ticks_of(const struct settings *all, const struct service *service)
{
	return all->reclaim_ticks > service->lifetime_ticks ? all->reclaim_ticks : service->lifetime_ticks;
}

/* The same number, as far as the compiler knows another. */
static __always_inline __u32 apart(__u32 value)
{
	asm volatile("" : "+r"(value));
	return value;
}

/*
 * The candidate that the entry names; 0: none. It is the slot's copy of the number that is given: that was
 * there before, so the processor, which guesses how the comparison ends, goes on with it while the entry is
 * still underway from memory.
 */
static __always_inline __u32 find_candidate(const struct slot *slot, __u32 owner)
{
	__u32 previous = apart(slot->previous), current = apart(slot->current), third = apart(slot->third);

	if (owner == slot->previous)
		return previous;
	if (owner == slot->current)
		return current;
	return owner == slot->third ? third : 0;
}

/* The slot remembers when a flow of it last was elsewhere than on current: it must be silent for long to
 * settle. */
static __always_inline void write_tick(__u64 *place, __u64 old, __u32 now)
{
	__u64 tick = now & SLOT_TICK_MASK ?: 1;
	__u64 word = (old & ~((__u64)SLOT_TICK_MASK << SLOT_TICK_SHIFT)) | tick << SLOT_TICK_SHIFT;

	if (word != old)
		__sync_val_compare_and_swap(place, old, word);
}

static __always_inline __u32 add_other(__u32 others, __u32 candidate, __u32 chosen)
{
	if (candidate == chosen || candidate == others || others >> 16 || !is_alive(candidate))
		return others;
	return others << 16 | candidate;
}

static __always_inline bool has_agent(__u32 index)
{
	const struct backend *backend = find_backend(index);

	return backend && backend->flags & BACKEND_AGENT;
}

/* As they stand in the key. What comes to one without the agent goes no further, so that is the last. */
static __always_inline __u32 order_others(__u32 others)
{
	__u32 first = others >> 16, second = others & INDEX_MASK;

	if (!first)
		return others << 16;
	if (has_agent(first))
		return others;
	return has_agent(second) ? second << 16 | first : first << 16;
}

/* Can the backend hand packets on to other candidates, and can they say to which? */
static __always_inline bool takes_candidates(__u32 index, const struct service *service)
{
	const struct backend *backend = find_backend(index);

	return backend && backend->flags & BACKEND_AGENT && can_name_others(forwarding_of(backend, service));
}

/* The live candidates of the slot but the chosen, as they stand in the key; 0: none. */
static __always_inline __u32 other_candidates(const struct slot *slot, const struct service *service,
					      __u32 chosen)
{
	__u32 others = 0;

	if (!takes_candidates(chosen, service))
		return 0;
	others = add_other(others, slot->previous, chosen);
	others = add_other(others, slot->current, chosen);
	others = add_other(others, slot->third, chosen);
	return order_others(others);
}

/*
 * Enters a flow that may be new in the table. `new` has flow and clock; `own`: what the table has of it, old
 * or not valid, if anything. False: not entered; the events say why. True: `new` says to which backend, which
 * is another if `is_followed`.
 */
static __always_inline bool track(struct question *asked, const struct settings *all,
				  const struct service *service, struct newcomer *new,
				  const struct entry *own, bool is_takeover, __u32 backend)
{
	bool is_inserted;

	new->backend = backend;
	new->reclaim_ticks = reclaim_ticks_of(all, service);
	new->has_entry = own->place != NULL;
	new->is_udp = !asked->is_tcp;
	new->is_takeover = is_takeover;
	is_inserted = insert_flow(new, service);
	asked->events = new->events;
	asked->lost_swaps = new->lost_swaps;
	return is_inserted;
}

/* Is the service's adoption time not over? */
static __always_inline bool is_adopting(const struct service *service, __u64 clock)
{
	__u32 subject = service->subject; /* as in insert_flow */
	const struct pressure *pressure = bpf_map_lookup_elem(&pressures, &subject);

	return pressure && (__s32)((__u32)(clock >> FINE_SHIFT) - pressure->adopt_until) < 0;
}

static __always_inline enum outcome choose_candidate(struct question *asked, const struct settings *all,
						     const struct service *service, const struct slot *slot,
						     struct newcomer *new, __u32 *backend)
{
	bool is_syn = asked->is_tcp && asked->is_new;
	struct entry entry = find_entry(&new->flow);
	__u32 owner = find_candidate(slot, entry_backend(entry.word));
	__u32 age = entry_age(entry.word, slot->now);
	bool is_valid = entry.place && age <= service->lifetime_ticks && is_alive(owner);
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
	if (asked->is_error || (asked->is_tcp && !is_syn))
		return OUTCOME_UNTRACKED;
	is_adopted = !asked->is_tcp && is_adopting(service, new->clock);
	target = !is_adopted && is_alive(slot->current) ? slot->current : *backend;
	if (!target || !track(asked, all, service, new, &entry, is_valid, target))
		return OUTCOME_UNTRACKED;
	*backend = new->backend;
	if (new->is_followed)
		return OUTCOME_TRACKED;
	return is_adopted ? OUTCOME_ADOPTED : OUTCOME_NEW;
}

/* Where the flow's entry may be. Gives the clock, too. */
static __always_inline void begin_tracking(struct question *asked, const struct settings *all,
					   const struct service *service, __u32 generation,
					   struct newcomer *new)
{
	*new = (struct newcomer){};
	asked->h2 = sip_second_half(&asked->state);
	new->flow.first_bucket = first_bucket_of(asked->h1, all->bucket_mask);
	new->flow.second_bucket = second_bucket_of(asked->h2, new->flow.first_bucket, all->bucket_mask);
	new->flow.fingerprint = fingerprint_of(asked->h2, service->salt, generation);
	new->clock = clock_ns();
}

/* Gives the outcome. `place`: of the slot. */
__attribute__((noinline)) int select_unsettled(struct question *asked, const struct service *service,
					       const struct settings *all, struct choice *choice,
					       __u64 *place)
{
	struct newcomer *new;
	enum outcome outcome;
	struct slot slot;
	__u64 word;

	if (!asked || !service || !all || !choice || !place)
		return OUTCOME_NO_BACKEND;
	new = &asked->new;
	word = *(volatile __u64 *)place;
	begin_tracking(asked, all, service, word >> SLOT_GENERATION_SHIFT & SLOT_GENERATION_MASK, new);
	slot.current = word & INDEX_MASK;
	slot.previous = word >> SLOT_PREVIOUS_SHIFT & INDEX_MASK;
	slot.third = word >> SLOT_THIRD_SHIFT & INDEX_MASK;
	slot.now = new->clock >> TICK_SHIFT;
	choice->backend = slot.current;
	if (!(word >> SLOT_TICK_SHIFT))
		return choice->backend ? OUTCOME_SETTLED : OUTCOME_NO_BACKEND; /* a moment ago it was not */
	outcome = choose_candidate(asked, all, service, &slot, new, &choice->backend);
	if (!choice->backend)
		return OUTCOME_NO_BACKEND;
	/* An untracked flow may live on another candidate, behind the second chance, wherever it is sent from
	 * here. */
	if (choice->backend != slot.current || outcome == OUTCOME_UNTRACKED)
		write_tick(place, word, slot.now);
	choice->key = other_candidates(&slot, service, choice->backend);
	if (choice->key)
		asked->events |= 1 << EVENT_KEYED;
	return outcome;
}

#endif
