/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Which backend a packet goes to. A settled slot says it alone: nothing else is read, nothing written. */
#ifndef PORTICO_SELECT_H
#define PORTICO_SELECT_H

#include "forward.h"
#include "handshake.h"
#include "packet.h"
#include "quic.h"
#include "siphash.h"
#include "tracked.h"
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

/* The client's address alone: two words of it, or for IPv4 one, whose upper half is ignored. A global
 * function, which the verifier judges once: few services ask for it. */
__attribute__((noinline)) __u32 hash_source(const struct settings *all, __u64 first, __u64 second,
					    bool is_ipv6)
{
	struct siphash state;

	if (!all)
		return 0;
	sip_start(&state, all->key);
	if (is_ipv6) {
		sip_word(&state, first);
		sip_word(&state, second);
		sip_word(&state, 16ULL << 56);
	} else {
		sip_word(&state, (__u32)first | 4ULL << 56);
	}
	return sip_first_half(&state) >> 32;
}

/* The connection table is asked. `place`: of the unsettled slot; NULL: every flow of the service is tracked.
 */
static __always_inline enum outcome ask_table(struct packet *packet, const struct service *service,
					      const struct settings *all, const struct siphash *state,
					      __u64 h1, __u32 slot_hash, __u64 *place, __u32 quic,
					      struct choice *choice)
{
	struct question *asked = find_question();
	__u32 outcome;

	fetch_early(first_bucket_of(h1, all->bucket_mask));
	if (!asked)
		return OUTCOME_NO_BACKEND; /* never */
	asked->h1 = h1;
	asked->state = *state;
	asked->slot_hash = slot_hash;
	asked->is_tcp = forget(packet->protocol, 0xff) == PROTOCOL_TCP || quic;
	asked->is_new = is_new_connection(packet);
	asked->ends = packet->tcp_flags & (TCP_FIN | TCP_RST);
	asked->is_error = packet->is_error;
	asked->events = 0;
	asked->lost_swaps = 0;
	outcome = place ? select_unsettled(asked, service, all, choice, place)
			: select_tracked(asked, service, all, choice);
	packet->events = asked->events;
	packet->lost_swaps = asked->lost_swaps;
	return known_outcome(outcome);
}

static __always_inline bool is_named_in(__u64 word, __u32 backend)
{
	return backend == (word & INDEX_MASK) || backend == (word >> SLOT_PREVIOUS_SHIFT & INDEX_MASK) ||
	       backend == (word >> SLOT_THIRD_SHIFT & INDEX_MASK);
}

/*
 * `state` has taken in what names the flow; `source_hash`: for services that hash sources; `quic`: what
 * read_quic gave, or 0.
 */
static __always_inline enum outcome select_hashed(struct packet *packet, const struct service *service,
						  const struct settings *all, struct siphash *state,
						  __u32 source_hash, __u32 quic, struct choice *choice)
{
	__u64 *place, h1, word;
	__u32 slot_hash, index, named = quic & QUIC_BACKEND_MASK;
	void *table;

	h1 = sip_first_half(state);
	choice->flow_label = h1 & 0xfffff;
	if (service->flags & SERVICE_HANDSHAKES)
		watch_handshake(packet, h1);
	if (named && !(quic >> QUIC_EARLY_SHIFT & 1)) {
		choice->backend = named;
		return OUTCOME_BY_ID;
	}
	slot_hash = service->flags & SERVICE_HASH_SOURCE ? source_hash : h1 >> 32;
	place = NULL;
	if (service->flags & SERVICE_TRACK_ALL)
		goto ask;
	index = (__u64)slot_hash * service->slots >> 32;
	table = bpf_map_lookup_elem(&slot_tables, &service->subject);
	place = table ? bpf_map_lookup_elem(table, &index) : NULL;
	if (!place)
		return RARE(OUTCOME_NO_BACKEND);
	word = *(volatile __u64 *)place;
	if (word >> SLOT_TICK_SHIFT && named && is_named_in(word, named)) {
		/* Nobody made up an ID that names one of two or three: a handshake is under way there. */
		choice->backend = named;
		return RARE(OUTCOME_BY_ID);
	}
	if (word >> SLOT_TICK_SHIFT)
		goto ask;
	choice->backend = word & INDEX_MASK;
	return choice->backend ? OUTCOME_SETTLED : OUTCOME_NO_BACKEND;
ask: /* one place for both, which the verifier goes for each kind of packet */
	return RARE(ask_table(packet, service, all, state, h1, slot_hash, place, quic, choice));
}

static __always_inline __u32 hash_packet_source(const struct packet *packet, const struct settings *all)
{
	const __u64 *source = packet->ip + (packet->is_ipv6 ? 8 : 12);

	if ((void *)(source + 2) > packet_end(packet))
		return 0;
	return hash_source(all, source[0], source[1], packet->is_ipv6);
}

static __always_inline enum outcome select_backend(struct packet *packet, const struct service *service,
						   const struct settings *all, __u32 quic,
						   struct choice *choice)
{
	struct siphash state;
	__u32 source_hash = 0;

	if (service->flags & SERVICE_HASH_SOURCE)
		source_hash = RARE(hash_packet_source(packet, all));
	hash_flow(packet, all, &state);
	return select_hashed(packet, service, all, &state, source_hash, quic, choice);
}

#endif
