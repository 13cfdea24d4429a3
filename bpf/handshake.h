/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Round trips without an agent: from a SYN, as it goes to its backend, to the ACK that completes the
 * handshake. Of services that ask for it, of one flow in 64; what the site takes for its part, user space
 * takes out. Whoever repeated, client or server, a second has passed then (RFC 6298, 2.1), so such a
 * handshake says nothing.
 *
 * Unlike the agent's, these can be forged: by whoever sends a SYN and an ACK from an address that is not
 * theirs.
 */
#ifndef PORTICO_HANDSHAKE_H
#define PORTICO_HANDSHAKE_H

#include "clock.h"
#include "maps.h"
#include "mix-key.h"
#include "packet.h"
#include "prefixes.h"
#include "rtt-sets.h"

#define FLOWS_A_HANDSHAKE 64
#define MOST_HANDSHAKE_NS 900000000ULL
/* A SYN of a flow so long after another one is no repetition. */
#define FORGOTTEN_NS 60000000000ULL
#define REPEATED 1

struct handshake_use {
	__u64 client; /* key of the prefix */
	__u64 flow;
	__u32 is_syn;
	__u32 zero;
};

static __always_inline void begin_handshake(struct handshake *place, __u64 flow, __u64 now)
{
	bool repeats = place->flow == flow && now - place->began < FORGOTTEN_NS;

	place->began = (now & ~(__u64)REPEATED) | repeats;
	place->flow = flow;
}

static __always_inline void end_handshake(struct handshake *place, const struct handshake_use *use,
					  __u64 seed, __u64 now)
{
	__u64 took = now - place->began;
	struct rtt_counters *counted;
	__u32 only = 0;

	counted = bpf_map_lookup_elem(&handshake_counters, &only);
	if (!counted)
		return;
	place->flow = 0;
	if (place->began & REPEATED || took > MOST_HANDSHAKE_NS)
		__sync_fetch_and_add(&counted->unknown, 1);
	else if (add_rtt(&handshake_rtts, use->client, seed, took / 1000 ?: 1))
		__sync_fetch_and_add(&counted->taken, 1);
	else
		__sync_fetch_and_add(&counted->full, 1);
}

/* A global function, so that the verifier judges it once. A flow that finds its place taken takes it over:
 * the other's handshake is not seen. */
__attribute__((noinline)) int see_handshake(const struct handshake_use *use)
{
	const struct settings *all = find_settings();
	struct handshake *place;
	__u64 flow;
	__u32 index;

	if (!use || !all || !all->measures)
		return 0;
	flow = use->flow | 1;
	index = flow >> 32 & (HANDSHAKES - 1);
	place = bpf_map_lookup_elem(&handshakes, &index);
	if (!place)
		return 0;
	if (use->is_syn)
		begin_handshake(place, flow, timer_clock_ns());
	else if (place->flow == flow)
		end_handshake(place, use, all->key[1], timer_clock_ns());
	return 0;
}

static __always_inline bool read_handshake(const struct packet *packet, struct handshake_use *use)
{
	use->is_syn = is_new_connection(packet);
	return use->is_syn || (packet->tcp_flags & TCP_FLAGS) == TCP_ACK;
}

/* Those of the prober, which stands beside the balancer, take as long as the site does: that is taken out. */
static __always_inline void watch_probe(const struct packet *packet, __u32 backend)
{
	struct handshake_use use = {.client = RTT_KEY_USED | RTT_KEY_PROBE};

	if (packet->protocol != PROTOCOL_TCP || !read_handshake(packet, &use))
		return;
	use.flow = mix_key((__u64)backend << 32 | packet->ports);
	see_handshake(&use);
}

/* `flow`: the keyed hash of the flow. */
static __always_inline void watch_handshake(const struct packet *packet, __u64 flow)
{
	struct handshake_use use = {};

	if (flow & (FLOWS_A_HANDSHAKE - 1) || forget(packet->protocol, 0xff) != PROTOCOL_TCP ||
	    packet->is_error)
		return;
	if (!read_handshake(packet, &use))
		return;
	use.client = prefix_key(packet, 0);
	use.flow = flow;
	see_handshake(&use);
}

#endif
