/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Fragments to a VIP. Routers may send those of one datagram to different balancers, so each goes to one
 * owner, by a hash of what all of them have, in GRE. There the first fragment, which has the ports, selects
 * the backend like any packet; the later ones follow it; and those that come before it are handed up, to be
 * held until it has come. All of a datagram's go out without keys: a backend could not pass on the later
 * ones.
 */
#ifndef PORTICO_FRAGMENTS_H
#define PORTICO_FRAGMENTS_H

#include "fragment.h"
#include "hand-up.h"
#include "process.h"

/* The balancer that owns the fragment; NULL: this one, also if there is no way to the other. */
static __always_inline const struct backend *find_owner(const struct packet *packet,
							const struct settings *all,
							const struct fragment *fragment,
							struct choice *choice)
{
	const struct backend *owner;
	__u32 slot, *index;
	__u64 hash, second;

	hash = hash_addresses(packet->ctx, all, packet->ip_offset, fragment->protocol | 1ULL << 56, &second);
	choice->flow_label = hash & 0xfffff;
	slot = (hash >> 32) * OWNER_SLOTS >> 32;
	index = bpf_map_lookup_elem(&fragment_owners, &slot);
	if (!index || !*index)
		return NULL;
	choice->backend = *index;
	owner = bpf_map_lookup_elem(&balancers, index);
	return owner && owner->ifindex ? owner : NULL;
}

static __always_inline enum outcome relay(struct packet *packet, const struct backend *owner,
					  const struct choice *choice, int *verdict)
{
	struct hop hop = {.macs = owner->next_hop_mac,
			  .ifindex = owner->ifindex,
			  .egress = owner->egress & (EGRESS_TAG | EGRESS_STRIP | EGRESS_VLAN_MASK)};

	*verdict = send_errand(PROTOCOL_GRE, packet, owner, &hop, choice);
	if (*verdict == XDP_TX || *verdict == XDP_REDIRECT)
		return OUTCOME_FRAGMENT_RELAYED;
	*verdict = XDP_DROP;
	return unsent(packet, choice, REASON_RELAY);
}

/* Gives the outcome: of the choice, where `service` is filled, else what became of the fragment. */
static __always_inline enum outcome choose_first(struct packet *packet, const struct settings *all,
						 struct recent *recent, const struct fragment *fragment,
						 struct choice *choice, const struct service **found,
						 int *verdict)
{
	bool is_tcp = packet->protocol == PROTOCOL_TCP;
	__u32 vip = packet->subject, label = choice->flow_label;
	const struct service *service;
	enum outcome outcome;

	if (read_first_ports(packet) != PARSED_OK)
		return OUTCOME_MALFORMED;
	service = find_service(packet, recent, vip, all->generation);
	if (!service) {
		remember_home(fragment, 0, 0, false, clock_ns());
		return leave_to_host(packet, verdict,
				     is_icmp(packet) ? OUTCOME_ICMP_OTHER : OUTCOME_NO_SERVICE);
	}
	*found = service;
	packet->subject = service->subject;
	choice->backend = 0; /* the owner's number stands there, and a flow above its limit gets none */
	outcome = choose(packet, all, service, 0, choice);
	choice->key = 0;
	choice->flow_label = label;
	packet->events &= ~(1 << EVENT_KEYED);
	if (choice->backend) {
		remember_home(fragment, choice->backend, bpf_ntohs(packet->ports >> 16), is_tcp, clock_ns());
		outcome = OUTCOME_FRAGMENT_FIRST;
	}
	return outcome;
}

static __always_inline enum outcome hold(const struct packet *packet, const struct fragment *fragment)
{
	struct noted *noted = find_noted();

	if (!noted)
		return OUTCOME_FAILED;
	noted->about.datagram = fragment->datagram;
	noted->about.bucket = fragment->bucket;
	noted->about.check = fragment->check;
	noted->about.reason = REASON_EARLY;
	noted->about.subject = packet->subject;
	noted->about.backend = 0;
	noted->about.key = 0;
	noted->about.flow_label = 0;
	return hand_up(packet, noted, OUTCOME_FRAGMENT_HELD);
}

/* The same of a later one. */
static __always_inline enum outcome choose_later(struct packet *packet, const struct settings *all,
						 struct recent *recent, const struct fragment *fragment,
						 struct choice *choice, const struct service **found,
						 int *verdict)
{
	__u64 home = find_home(fragment, clock_ns());
	const struct service *service;

	packet->is_later = true;
	if (!home)
		return hold(packet, fragment);
	choice->backend = home & (MAX_BACKENDS - 1);
	packet->ports = (__u32)bpf_htons(home >> FRAGMENT_PORT_SHIFT) << 16;
	packet->protocol = home & FRAGMENT_TCP ? PROTOCOL_TCP : PROTOCOL_UDP;
	service = choice->backend ? find_service(packet, recent, packet->subject, all->generation) : NULL;
	if (!service)
		return leave_to_host(packet, verdict, OUTCOME_NO_SERVICE);
	*found = service;
	packet->subject = service->subject;
	return OUTCOME_FRAGMENT_LATER;
}

/* A program has seen the packet: a fragment to a VIP. */
static __always_inline enum outcome process_fragment(struct packet *packet, const struct settings *all,
						     bool is_relayed, int *verdict)
{
	struct recent *recent = find_recent();
	const struct service *service = NULL;
	struct fragment fragment = {};
	const struct backend *owner;
	struct choice choice = {};
	enum outcome outcome;
	struct vip vip;

	if (!recent || !parse_ip(packet))
		return OUTCOME_NOT_IP;
	forget_tags(packet);
	vip = find_vip(packet, recent, all->generation);
	packet->subject = vip.subject;
	*verdict = XDP_DROP;
	if (read_fragment(packet, &fragment) != PARSED_FRAGMENT)
		return OUTCOME_MALFORMED;
	if (!packet->is_ipv6 && packet->protocol != PROTOCOL_TCP && packet->protocol != PROTOCOL_UDP)
		return leave_to_host(packet, verdict,
				     is_icmp(packet) ? OUTCOME_ICMP_OTHER : OUTCOME_NO_SERVICE);
	if (is_expired(packet))
		return answer_back(packet, OUTCOME_TTL_EXPIRED);
	owner = find_owner(packet, all, &fragment, &choice);
	if (owner && !is_relayed)
		return relay(packet, owner, &choice, verdict);
	name_datagram(packet, all, &fragment);
	if (fragment.is_first)
		outcome = choose_first(packet, all, recent, &fragment, &choice, &service, verdict);
	else
		outcome = choose_later(packet, all, recent, &fragment, &choice, &service, verdict);
	if (!service)
		return outcome;
	forget_reading(packet);
	forget_choice(packet, &choice, &outcome);
	return send_chosen(packet, service, &choice, outcome, true, verdict);
}

/* Counts the packet; gives the verdict. */
static __always_inline int process_and_count_fragment(struct xdp_md *ctx)
{
	const struct settings *all = find_settings();
	struct noted *noted = find_noted();
	struct packet packet = {.ctx = ctx};
	int verdict = XDP_PASS;
	bool is_relayed;

	if (!all || !noted)
		return XDP_PASS;
	is_relayed = noted->is_relayed;
	noted->is_relayed = 0;
	count(&packet, all, process_fragment(&packet, all, is_relayed, &verdict));
	return verdict;
}

#endif
