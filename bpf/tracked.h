/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Services that track every flow (SERVICE_TRACK_ALL): those whose scheduler is no hash, or whose operator
 * wants it so. The entry names the backend, whatever the lookup table says meanwhile; without one a packet
 * goes where its hash says. Entries follow TCP, so that one is not kept for longer than its connection.
 */
#ifndef PORTICO_TRACKED_H
#define PORTICO_TRACKED_H

#include "schedule.h"
#include "unsettled.h"

/* Both slots of a flow; the second is for least-connections alone. Words of what is not there are 0. */
struct two_slots {
	__u64 *first;
	__u64 *second;
	__u64 first_word;
	__u64 second_word;
};

static __always_inline __u64 *find_slot(const struct service *service, __u32 hash)
{
	__u32 subject = service->subject; /* as in insert_flow */
	void *table = bpf_map_lookup_elem(&slot_tables, &subject);
	__u32 index = (__u64)hash * service->slots >> 32;

	return table ? bpf_map_lookup_elem(table, &index) : NULL;
}

static __always_inline __u32 current_of(__u64 word)
{
	return word & INDEX_MASK;
}

/* 0 where the slot is settled, as is the third: the tick and both are 0 then. */
static __always_inline __u32 previous_of(__u64 word)
{
	return word >> SLOT_TICK_SHIFT ? word >> SLOT_PREVIOUS_SHIFT & INDEX_MASK : 0;
}

static __always_inline __u32 third_of(__u64 word)
{
	return word >> SLOT_TICK_SHIFT ? word >> SLOT_THIRD_SHIFT & INDEX_MASK : 0;
}

/* Of least-connections; the other parts of the hashes name the first slot, buckets and fingerprint. */
static __always_inline __u32 second_slot_hash(__u64 h1, __u64 h2)
{
	return (__u32)h1 ^ (__u32)(h2 >> 32);
}

/* Where a flow without an entry goes: older than a change that is under way, like everywhere. */
static __always_inline __u32 home_of(const struct two_slots *slots)
{
	__u32 previous = previous_of(slots->first_word);
	__u32 first = current_of(slots->first_word);
	__u32 second = current_of(slots->second_word);

	if (is_alive(previous))
		return previous;
	return is_alive(first) || !is_alive(second) ? first : second;
}

/* The flag of entries that are counted, 0 for services that need no counts. */
static __always_inline __u32 counted_flag(const struct service *service)
{
	return service->scheduler == SCHEDULER_LEAST_CONNECTIONS ? STATE_COUNTED : 0;
}

static __always_inline bool is_ending(__u32 state)
{
	return (state & STATE_PHASE) == STATE_CLOSING || state & STATE_ENDED;
}

/*
 * The state after a packet. A FIN ends what the client says, not what it may wait for. An RST may be forged:
 * whatever comes behind it shows that the connection lives.
 */
static __always_inline __u32 next_state(__u32 state, const struct question *asked, __u32 counted)
{
	__u32 phase = state & STATE_PHASE, ended = state & STATE_ENDED;

	if (asked->ends & TCP_RST)
		return STATE_CLOSING | ended;
	if (asked->ends)
		return (phase == STATE_CLOSING ? STATE_CLOSING : STATE_OPEN) | STATE_ENDED;
	if (asked->is_new)
		return is_ending(state) ? STATE_OPENING | counted : state;
	if (phase == STATE_CLOSING)
		return STATE_OPEN | (ended ?: counted);
	return phase == STATE_OPENING ? STATE_OPEN | (state & ~STATE_PHASE) : state;
}

/*
 * What a packet of the flow does to its entry. A lost swap does not matter: whoever won did the same, or
 * took the place.
 */
static __always_inline void follow_flow(const struct entry *entry, const struct question *asked, __u32 now,
					__u32 counted)
{
	__u32 before = entry_state(entry->word), state = next_state(before, asked, counted);
	__u32 age = asked->is_new ? 0 : YOUNG_TICKS + 1;
	__u64 word = (entry->word & ~(0xfULL << ENTRY_STATE_SHIFT)) | state << ENTRY_STATE_SHIFT;

	if (asked->is_error)
		return;
	/* What ends is no longer young. */
	if (entry_age(word, now) > age || (asked->ends && state != before))
		word = (word & ~((__u64)AGE_MASK << ENTRY_AGE_SHIFT)) | (__u64)((now - age) & AGE_MASK)
									    << ENTRY_AGE_SHIFT;
	if (word != entry->word)
		exchange_entry(entry, word);
}

/* The live candidates of both slots other than the chosen: a balancer that lacks the entry tells them, so
 * that the flow is found. */
static __always_inline __u32 name_candidates(const struct two_slots *slots, const struct service *service,
					     __u32 chosen)
{
	__u32 others = 0;

	if (!takes_candidates(chosen, service))
		return 0;
	others = add_other(others, previous_of(slots->first_word), chosen);
	others = add_other(others, current_of(slots->first_word), chosen);
	others = add_other(others, current_of(slots->second_word), chosen);
	others = add_other(others, previous_of(slots->second_word), chosen);
	others = add_other(others, third_of(slots->first_word), chosen);
	others = add_other(others, third_of(slots->second_word), chosen);
	return order_others(others);
}

static __always_inline enum outcome choose_tracked(struct question *asked, const struct service *service,
						   const struct settings *all, const struct two_slots *slots,
						   struct newcomer *new, __u32 *backend)
{
	struct entry entry = find_entry(&new->flow);
	__u32 owner = entry_backend(entry.word);
	__u32 now = new->clock >> TICK_SHIFT;
	bool is_valid = entry.place &&
			entry_age(entry.word, now) <= entry_limit(entry.word, service->lifetime_ticks) &&
			is_alive(owner);
	bool is_over =
	    asked->is_new && is_ending(entry_state(entry.word)) && entry_age(entry.word, now) > REOPEN_TICKS;
	__u32 counted = counted_flag(service);

	/* A SYN that meets an open connection may be anybody's, as may FIN and RST: it does not move it. */
	if (is_valid && !is_over) {
		follow_flow(&entry, asked, now, counted);
		*backend = owner;
		return OUTCOME_TRACKED;
	}
	if (!asked->is_error && (asked->is_new || !asked->is_tcp)) {
		bool is_adopted = !asked->is_tcp && is_adopting(service, new->clock);

		*backend = is_adopted ? home_of(slots)
				      : schedule(service, all, current_of(slots->first_word),
						 current_of(slots->second_word));
		new->state = STATE_OPENING | counted;
		if (*backend && track(asked, all, service, new, &entry, is_valid, *backend)) {
			*backend = new->backend;
			if (new->is_followed)
				return OUTCOME_TRACKED;
			return is_adopted ? OUTCOME_ADOPTED : OUTCOME_NEW;
		}
	}
	*backend = home_of(slots);
	return OUTCOME_UNTRACKED;
}

/* What is on neither current, or may be, keeps its slots from settling. */
static __always_inline void touch_slots(const struct two_slots *slots, __u32 now)
{
	if (slots->first_word >> SLOT_TICK_SHIFT)
		write_tick(slots->first, slots->first_word, now);
	if (slots->second && slots->second_word >> SLOT_TICK_SHIFT)
		write_tick(slots->second, slots->second_word, now);
}

/*
 * Gives the outcome. A global function, so that it is judged once, and takes nothing from the way of packets
 * whose service tracks no more than it must.
 */
__attribute__((noinline)) int select_tracked(struct question *asked, const struct service *service,
					     const struct settings *all, struct choice *choice)
{
	struct two_slots slots = {};
	struct newcomer *new;
	enum outcome outcome;

	if (!asked || !service || !all || !choice)
		return OUTCOME_NO_BACKEND;
	new = &asked->new;
	/* Entries outlive changes of their slots, so no generation is in their fingerprints. */
	begin_tracking(asked, all, service, 0, new);
	slots.first = find_slot(service, asked->slot_hash);
	if (!slots.first)
		return OUTCOME_NO_BACKEND;
	slots.first_word = *(volatile __u64 *)slots.first;
	if (service->scheduler == SCHEDULER_LEAST_CONNECTIONS)
		slots.second = find_slot(service, second_slot_hash(asked->h1, asked->h2));
	if (slots.second)
		slots.second_word = *(volatile __u64 *)slots.second;
	outcome = choose_tracked(asked, service, all, &slots, new, &choice->backend);
	if (!choice->backend)
		return OUTCOME_NO_BACKEND;
	if (service->scheduler != SCHEDULER_LEAST_CONNECTIONS)
		return outcome;
	choice->key = name_candidates(&slots, service, choice->backend);
	if (choice->key)
		asked->events |= 1 << EVENT_KEYED;
	if (outcome == OUTCOME_UNTRACKED || (choice->backend != current_of(slots.first_word) &&
					     choice->backend != current_of(slots.second_word)))
		touch_slots(&slots, new->clock >> TICK_SHIFT);
	return outcome;
}

#endif
