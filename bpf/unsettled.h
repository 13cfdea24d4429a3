/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which backend a packet of an unsettled slot goes to: the set of backends changes, the connection table is
 * asked, and a flow that it does not know goes to `previous`: untracked means previous.
 *
 * A global function, so that the verifier judges it once and not again for each way that leads here.
 */
#ifndef PORTICO_UNSETTLED_H
#define PORTICO_UNSETTLED_H

#include "clock.h"
#include "connections.h"
#include "maps.h"
#include "pressure.h"
#include "wire.h"

#define MAX_INSERT_ATTEMPTS 3

/* The question (what is known of packet, service and slot) and, from `backend` on, the answer. */
struct unsettled {
	__u64 h1;
	__u64 h2;
	__u32 slot_index;
	__u32 bucket_mask;
	struct service service;
	__u8 protocol;
	__u8 tcp_flags;
	__u8 zero[2];
	__u32 backend;    /* 0: none */
	__u32 key;        /* other candidates for the GRE key: first << 16 | second; 0: none */
	__u32 events;     /* bit for each enum event that happened */
	__u32 lost_swaps; /* EVENT_CAS_LOST, which can happen more than once */
};

/* The slot as this packet sees it. */
struct slot {
	__u64 *place;
	__u64 word;
	__u32 current;
	__u32 previous;
	__u32 third;
	__u32 now; /* in ticks */
	__u64 clock;
};

/* For a slot without a note. A global also brings the struct into the BTF, which the inner map's definition
 * does not. */
const struct slot_note no_note = {};

static __always_inline bool read_slot(struct slot *slot, const struct unsettled *packet)
{
	void *table = bpf_map_lookup_elem(&slot_tables, &packet->service.subject);

	slot->place = table ? bpf_map_lookup_elem(table, &packet->slot_index) : NULL;
	if (!slot->place)
		return false;
	slot->word = *(volatile __u64 *)slot->place;
	slot->current = slot->word & 0xffff;
	slot->previous = slot->word >> SLOT_PREVIOUS_SHIFT & 0xffff;
	slot->third = slot->word >> SLOT_THIRD_SHIFT & 0xffff;
	slot->clock = clock_ns();
	slot->now = slot->clock >> TICK_SHIFT;
	return true;
}

static __always_inline const struct slot_note *read_note(const struct unsettled *packet)
{
	void *table = bpf_map_lookup_elem(&slot_notes, &packet->service.subject);
	const struct slot_note *note = table ? bpf_map_lookup_elem(table, &packet->slot_index) : NULL;

	return note ? note : &no_note;
}

static __always_inline bool is_candidate(const struct slot *slot, __u32 backend)
{
	return backend && (backend == slot->current || backend == slot->previous || backend == slot->third);
}

/* The slot remembers when a packet last went elsewhere than to current: it must be silent for long to settle.
 */
static __always_inline void write_tick(const struct slot *slot)
{
	__u64 tick = slot->now & 0xffff ?: 1;
	__u64 word = (slot->word & 0xffffffffffff) | tick << SLOT_TICK_SHIFT;

	if (word != slot->word)
		__sync_val_compare_and_swap(slot->place, slot->word, word);
}

static __always_inline __u32 add_other(__u32 others, __u32 candidate, __u32 chosen)
{
	if (candidate == chosen || candidate == others || others >> 16 || !is_alive(candidate))
		return others;
	return others << 16 | candidate;
}

/* The candidates that a backend with the agent may hand the packet on to. */
static __always_inline __u32 other_candidates(const struct slot *slot, __u32 chosen)
{
	const struct backend *backend = find_backend(chosen);
	__u32 others = 0;

	if (!backend || !(backend->flags & BACKEND_AGENT))
		return 0;
	others = add_other(others, slot->previous, chosen);
	others = add_other(others, slot->current, chosen);
	others = add_other(others, slot->third, chosen);
	return others >> 16 ? others : others << 16;
}

/*
 * Writes an entry for a flow that is not in the table, or over the flow's own entry `old`. That one was valid
 * if `is_takeover`, and then the flow was counted when it came. False: not inserted; the event says why.
 */
static __always_inline bool insert_flow(struct unsettled *packet, const struct slot *slot,
					const struct flow *flow, struct entry old, bool is_takeover,
					__u32 backend)
{
	__u64 word = make_entry(flow->fingerprint, slot->now, backend);
	struct pressure_time time = pressure_time(&packet->service, slot->clock);
	struct pressure *pressure = bpf_map_lookup_elem(&pressures, &packet->service.subject);

	if (!pressure)
		return false;
	if (!old.place && !has_room(pressure, &packet->service, time)) {
		packet->events |= 1 << EVENT_REFUSED_PRESSURE;
		return false;
	}
	for (int attempt = 0; attempt < MAX_INSERT_ATTEMPTS; attempt++) {
		struct entry entry = old;

		if (!entry.place)
			entry = find_room(flow, slot->now, packet->service.lifetime_ticks);
		if (!entry.place)
			break;
		if (write_entry(&entry, word)) {
			packet->events |= 1 << (is_takeover ? EVENT_REPLACED : EVENT_INSERTED);
			if (!is_takeover)
				count_tracked(pressure, time);
			return true;
		}
		packet->lost_swaps++;
		old = find_entry(flow);
	}
	packet->events |= 1 << EVENT_REFUSED_FULL;
	return false;
}

static __always_inline enum outcome choose_candidate(struct unsettled *packet, const struct slot *slot,
						     const struct flow *flow, __u32 adopt_until)
{
	bool is_tcp = packet->protocol == PROTOCOL_TCP;
	bool is_syn = is_tcp && (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
	struct entry entry = find_entry(flow);
	__u32 owner = entry_backend(entry.word);
	__u32 age = entry_age(entry.word, slot->now);
	bool is_valid = entry.place && age <= packet->service.lifetime_ticks && is_candidate(slot, owner) &&
			is_alive(owner);
	__u32 fallback, target;
	bool is_adopted;

	/* A SYN that meets a young entry is a retransmission; one that meets an old entry is a new
	 * connection. */
	if (is_valid && (!is_syn || age <= YOUNG_TICKS || owner == slot->current)) {
		touch_entry(&entry, slot->now, is_syn);
		packet->backend = owner;
		return OUTCOME_TRACKED;
	}
	fallback = is_alive(slot->previous) ? slot->previous : slot->current;
	packet->backend = fallback;
	if (is_tcp && !is_syn)
		return OUTCOME_UNTRACKED;
	is_adopted = !is_tcp && (__s32)((__u32)(slot->clock >> FINE_SHIFT) - adopt_until) < 0;
	target = !is_adopted && is_alive(slot->current) ? slot->current : fallback;
	if (!target || !insert_flow(packet, slot, flow, entry, is_valid, target))
		return OUTCOME_UNTRACKED;
	packet->backend = target;
	return is_adopted ? OUTCOME_ADOPTED : OUTCOME_NEW;
}

__attribute__((noinline)) int select_unsettled(struct unsettled *packet)
{
	const struct slot_note *note;
	enum outcome outcome;
	struct slot slot;
	struct flow flow;

	if (!packet || !read_slot(&slot, packet))
		return OUTCOME_NO_BACKEND;
	note = read_note(packet);
	flow = flow_of(packet->h1, packet->h2, note->generation, packet->bucket_mask);
	outcome = choose_candidate(packet, &slot, &flow, note->adopt_until);
	if (!packet->backend)
		return OUTCOME_NO_BACKEND;
	/* An untracked flow may live on another candidate, behind the second chance, wherever it is sent from
	 * here. */
	if (packet->backend != slot.current || outcome == OUTCOME_UNTRACKED)
		write_tick(&slot);
	packet->key = other_candidates(&slot, packet->backend);
	if (packet->key)
		packet->events |= 1 << EVENT_KEYED;
	return outcome;
}

#endif
