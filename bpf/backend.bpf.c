/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* On the backend: takes packets out of their encapsulation, and gives those of unknown connections a second
 * chance. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "agent-maps.h"
#include "decapsulate.h"
#include "second-chance.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* No code reads these: they bring the enums into the BTF, from which the TypeScript side is generated. */
const enum agent_outcome *const agent_outcome_type = 0;
const enum packing *const packing_type = 0;

static __always_inline void count_agent(enum agent_outcome outcome)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct agent_counters *own = bpf_map_lookup_elem(&agent_counters, &cpu);

	if (own)
		own->outcome[outcome]++;
}

/* The backend index that the packet is to go on to; 0: it is for us. */
static __always_inline __u32 next_candidate(struct packet *inner, const struct outer *outer)
{
	__u32 candidate = outer->key >> 16;

	return !candidate || is_known_here(inner) ? 0 : candidate;
}

static __always_inline enum agent_outcome pass_on(const struct packet *packet, struct packet *inner,
						  const struct outer *outer, __u32 candidate, int *verdict)
{
	const struct member *member = bpf_map_lookup_elem(&agent_candidates, &candidate);

	if (!member || !member->ifindex)
		return AGENT_UNKNOWN_CANDIDATE;
	*verdict = forward_to(packet, inner, outer, member);
	if (*verdict == XDP_TX || *verdict == XDP_REDIRECT)
		return AGENT_FORWARDED;
	*verdict = XDP_DROP;
	return AGENT_FAILED;
}

static __always_inline enum agent_outcome process_encapsulated(struct packet *packet, int *verdict)
{
	struct address source, destination;
	struct packet inner = {};
	struct outer outer = {};
	enum parsed parsed;
	__u32 candidate;

	if (!parse_ip(packet) || !read_outer_ip(packet, &outer, &source, &destination) ||
	    !is_own_address(&destination))
		return AGENT_NOT_OURS;
	*verdict = XDP_DROP;
	if (!is_member(&source))
		return AGENT_NOT_MEMBER;
	if (!read_shim(packet, &outer, &inner) || !read_inner_ip(packet, &outer, &inner, &destination))
		return AGENT_MALFORMED;
	if (!is_own_vip(&destination))
		return AGENT_NOT_OUR_VIP;
	if (outer.key) {
		parsed = parse_transport(&inner);
		if (parsed == PARSED_MALFORMED)
			return AGENT_MALFORMED;
		candidate = parsed == PARSED_OK ? next_candidate(&inner, &outer) : 0;
		if (candidate)
			return pass_on(packet, &inner, &outer, candidate, verdict);
	}
	if (!strip_outer(packet, &inner, &outer))
		return AGENT_FAILED;
	*verdict = XDP_PASS;
	return AGENT_DELIVERED;
}

SEC("xdp.frags")
int backend(struct xdp_md *ctx)
{
	struct packet packet = {.ctx = ctx};
	int verdict = XDP_PASS;

	count_agent(process_encapsulated(&packet, &verdict));
	return verdict;
}
