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

/* `state` has taken in what names the flow. */
static __always_inline enum outcome select_hashed(struct packet *packet, const struct service *service,
						  const struct settings *all, struct siphash *state,
						  struct choice *choice)
{
	struct slot slot;
	__u32 index;
	void *table;
	__u64 h1;

	h1 = sip_first_half(state);
	choice->flow_label = h1 & 0xfffff;
	index = (h1 >> 32) * service->slots >> 32;
	table = bpf_map_lookup_elem(&slot_tables, &service->subject);
	slot.place = table ? bpf_map_lookup_elem(table, &index) : NULL;
	if (!slot.place)
		return RARE(OUTCOME_NO_BACKEND);
	slot.word = *(volatile __u64 *)slot.place;
	if (slot.word >> SLOT_TICK_SHIFT)
		return select_unsettled(packet, service, all->bucket_mask, &slot, h1, sip_second_half(state),
					choice);
	choice->backend = slot.word & INDEX_MASK;
	return choice->backend ? OUTCOME_SETTLED : OUTCOME_NO_BACKEND;
}

static __always_inline enum outcome select_backend(struct packet *packet, const struct service *service,
						   const struct settings *all, struct choice *choice)
{
	struct siphash state;

	hash_flow(packet, all, &state);
	return select_hashed(packet, service, all, &state, choice);
}

#endif
