/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* To a backend that another program has chosen, by a way that is out of the ordinary (hand-on.h). */
#ifndef PORTICO_SEND_H
#define PORTICO_SEND_H

#include "egress.h"
#include "fragment.h"
#include "nat.h"
#include "process.h"

/* The packet as the program before has read it. False: it cannot be, so it never is. */
static __always_inline bool read_again(struct packet *packet)
{
	struct fragment fragment = {};
	enum parsed parsed;

	if (!parse_ip(packet))
		return false;
	parsed = parse_transport(packet);
	if (parsed != PARSED_FRAGMENT)
		return parsed == PARSED_OK;
	if (read_fragment(packet, &fragment) != PARSED_FRAGMENT)
		return false;
	packet->is_later = !fragment.is_first;
	return packet->is_later || read_first_ports(packet) == PARSED_OK;
}

/* As its entry says; where that is in doubt, as the kernel's tables say now, if they know. */
static __always_inline struct hop find_hop(const struct packet *packet, const struct backend *backend,
					   struct way *way)
{
	struct hop hop = {.macs = backend->next_hop_mac,
			  .ifindex = backend->ifindex,
			  .source_bits = backend->source_bits & 0xf,
			  .egress = backend->egress & (EGRESS_TAG | EGRESS_STRIP | EGRESS_VLAN_MASK)};

	if (!(backend->egress & EGRESS_STALE))
		return hop;
	*way = find_way(packet->ctx, backend->source, backend->address, backend->flags & BACKEND_IPV6, 0);
	if (way->ifindex) {
		hop.macs = way->macs;
		hop.ifindex = way->ifindex;
	}
	return hop;
}

/* The Ethernet header with its tags, before a packet that is not encapsulated. */
static __always_inline bool write_ethernet(struct packet *packet, const struct hop *hop)
{
	__u32 link = packet->ip_offset;
	void *frame;

	set_tags(packet, hop->egress);
	if (packet->ip_offset != link && bpf_xdp_adjust_head(packet->ctx, (int)(link - packet->ip_offset)))
		return false;
	frame = (void *)(long)packet->ctx->data;
	if (frame + ETHERNET_BYTES + MAX_VLAN_TAGS * VLAN_TAG_BYTES > packet_end(packet))
		return false; /* never: an IP packet is behind it */
	copy_bytes_12(frame, hop->macs);
	return write_tags(packet, frame, ether_type(packet->is_ipv6));
}

/* l2 and nat. */
static __always_inline int send_bare(struct packet *packet, const struct parcel *parcel,
				     const struct backend *backend, const struct hop *hop)
{
	if (!fits(packet, backend, 0))
		return does_not_fit(packet, backend, 0);
	if (parcel->forwarding == FORWARDING_NAT && !rewrite_to_backend(packet, parcel, backend))
		return XDP_ABORTED;
	packet->frame = (void *)(long)packet->ctx->data; /* anew, as the packet may have been rewritten */
	packet->ip = packet->frame + packet->ip_offset;
	take_hop(packet);
	return write_ethernet(packet, hop) ? send_out(packet->ctx, hop->ifindex) : XDP_ABORTED;
}

static __always_inline enum outcome process_sending(struct packet *packet, const struct parcel *parcel,
						    int *verdict)
{
	const struct backend *backend = find_backend(parcel->choice.backend);
	struct choice choice = parcel->choice;
	struct way way;
	struct hop hop;

	packet->subject = parcel->subject;
	packet->events = parcel->events;
	packet->lost_swaps = parcel->lost_swaps;
	packet->backend = choice.backend;
	packet->is_error = parcel->is_error;
	if (!backend || !read_again(packet))
		return OUTCOME_FAILED;
	forget_reading(packet);
	packet->tcp_flags = parcel->tcp_flags;
	hop = find_hop(packet, backend, &way);
	if (!hop.ifindex)
		return OUTCOME_FAILED;
	if (parcel->forwarding < FORWARDING_L2)
		*verdict = send_errand(protocol_of(parcel->forwarding, packet->is_ipv6), packet, backend,
				       &hop, &choice);
	else
		*verdict = send_bare(packet, parcel, backend, &hop);
	if (*verdict == XDP_TX || *verdict == XDP_REDIRECT)
		return known_outcome(choice.outcome);
	*verdict = XDP_DROP;
	return unsent(packet, &choice, REASON_OVERSIZED);
}

/* Counts the packet; gives the verdict. */
static __always_inline int send_and_count(struct xdp_md *ctx)
{
	const struct settings *all = find_settings();
	const struct parcel *parcel = find_parcel();
	struct packet packet = {.ctx = ctx};
	int verdict = XDP_DROP;

	if (!all || !parcel)
		return XDP_DROP;
	count(&packet, all, process_sending(&packet, parcel, &verdict));
	return verdict;
}

#endif
