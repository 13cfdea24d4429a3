/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Which backend a packet goes to. A settled slot says it alone: nothing else is read, nothing written. */
#ifndef PORTICO_SELECT_H
#define PORTICO_SELECT_H

#include "forward.h"
#include "packet.h"
#include "siphash.h"
#include "unsettled.h"

static __always_inline void hash_flow(const struct packet *packet, const struct settings *all,
				      struct siphash *state)
{
	__u64 last = packet->ports | (__u64)packet->protocol << 32;
	__u64 *words;

	sip_start(state, all->key);
	if (packet->is_ipv6) {
		words = packet->ip + 8; /* both addresses */
		if ((void *)(words + 4) > packet_end(packet))
			return;
		sip_word(state, words[0]);
		sip_word(state, words[1]);
		sip_word(state, words[2]);
		sip_word(state, words[3]);
		sip_word(state, last | 37ULL << 56);
	} else {
		words = packet->ip + 12;
		if ((void *)(words + 1) > packet_end(packet))
			return;
		sip_word(state, words[0]);
		sip_word(state, last | 13ULL << 56);
	}
}

static __always_inline enum outcome select_backend(struct packet *packet, const struct service *service,
						   const struct settings *all, struct choice *choice)
{
	struct unsettled unsettled = {};
	struct siphash state;
	enum outcome outcome;
	__u64 *place, word;
	void *table;

	hash_flow(packet, all, &state);
	unsettled.h1 = sip_first_half(&state);
	choice->flow_label = unsettled.h1 & 0xfffff;
	unsettled.slot_index = (unsettled.h1 >> 32) * service->slots >> 32;
	table = bpf_map_lookup_elem(&slot_tables, &service->subject);
	place = table ? bpf_map_lookup_elem(table, &unsettled.slot_index) : NULL;
	if (!place)
		return OUTCOME_NO_BACKEND;
	word = *(volatile __u64 *)place;
	if (word >> SLOT_TICK_SHIFT == 0) {
		choice->backend = word & 0xffff;
		return choice->backend ? OUTCOME_SETTLED : OUTCOME_NO_BACKEND;
	}

	unsettled.h2 = sip_second_half(&state);
	unsettled.bucket_mask = all->bucket_mask;
	unsettled.service = *service;
	unsettled.protocol = packet->protocol;
	unsettled.tcp_flags = packet->tcp_flags;
	outcome = select_unsettled(&unsettled);
	/* The verifier does not see what the function can return, the compiler does. */
	barrier_var(outcome);
	if (outcome >= OUTCOME_COUNT)
		return OUTCOME_NO_BACKEND;
	choice->backend = unsettled.backend;
	choice->key = unsettled.key;
	packet->events = unsettled.events;
	packet->lost_swaps = unsettled.lost_swaps;
	return outcome;
}

#endif
