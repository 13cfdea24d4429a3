/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Fragments that another balancer of the site sent here, where their owner is: out of their GRE. */
#ifndef PORTICO_RELAYED_H
#define PORTICO_RELAYED_H

#include "decapsulate.h"
#include "fragments.h"

/*
 * GRE to this balancer. What others than balancers of the site send may be a tunnel of the host. True: a
 * fragment for a VIP was in it, and is taken out.
 */
static __always_inline bool unwrap(struct packet *packet, const struct settings *all, enum outcome *outcome)
{
	struct recent *recent = find_recent();
	struct address source, destination;
	struct packet inner = {};
	struct outer outer = {};

	*outcome = OUTCOME_NOT_VIP;
	if (!recent || !parse_ip(packet) || !read_outer_ip(packet, &outer, &source, &destination) ||
	    outer.protocol != PROTOCOL_GRE || !bpf_map_lookup_elem(&balancer_sources, &source))
		return false;
	*outcome = OUTCOME_FRAGMENT_REFUSED;
	if (packet->ip_length < outer.bytes || !read_shim(packet, &outer, &inner) ||
	    !read_inner_ip(packet, &outer, &inner, &destination) ||
	    !find_vip_of(recent, (__u64 *)&destination, all->generation).subject ||
	    parse_transport(&inner) != PARSED_FRAGMENT)
		return false;
	*outcome = OUTCOME_FAILED;
	return strip_outer(packet, &inner, &outer);
}

/* The program `balancer` has seen the packet: GRE to this balancer. */
static __always_inline int unwrap_and_count(struct xdp_md *ctx)
{
	const struct settings *all = find_settings();
	struct noted *noted = find_noted();
	struct packet packet = {.ctx = ctx};
	enum outcome outcome;

	if (!all || !noted)
		return XDP_PASS;
	if (unwrap(&packet, all, &outcome)) {
		noted->is_relayed = 1;
		hand_over_fragment(ctx);
		noted->is_relayed = 0;
	}
	count(&packet, all, outcome);
	return outcome == OUTCOME_NOT_VIP ? XDP_PASS : XDP_DROP;
}

#endif
