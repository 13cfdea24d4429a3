/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* To the backend that was chosen. */
#ifndef PORTICO_FORWARD_H
#define PORTICO_FORWARD_H

#include "encapsulate.h"
#include "hops.h"
#include "maps.h"
#include "mtu.h"
#include "hand-on.h"
#include "packet.h"

/* A backend's own mode goes before its service's. */
static __always_inline __u32 forwarding_of(const struct backend *backend, const struct service *service)
{
	return backend->forwarding ?: service->forwarding;
}

/* Whether a packet can say which other backends its flow may be on. */
static __always_inline bool can_name_others(__u32 forwarding)
{
	return forwarding <= FORWARDING_GRE || forwarding == FORWARDING_GUE;
}

static __always_inline __u32 protocol_of(__u32 forwarding, bool is_ipv6)
{
	if (forwarding == FORWARDING_IPIP)
		return is_ipv6 ? PROTOCOL_IPV6 : PROTOCOL_IPV4;
	return forwarding == FORWARDING_GUE ? PROTOCOL_UDP : PROTOCOL_GRE;
}

static __always_inline bool has_key_place(__u32 protocol)
{
	return protocol == PROTOCOL_GRE || protocol == PROTOCOL_UDP;
}

/* The way that a packet leaves by. */
struct hop {
	const __u8 *macs; /* destination and source MAC, 12 bytes */
	__u32 ifindex;
	__u32 source_bits; /* as in struct backend */
	__u32 egress;      /* EGRESS_TAG or EGRESS_STRIP */
};

/*
 * `protocol`: of the outer IP header. `is_plain`: that is IPv4, and without a key, which the caller has made
 * sure of. XDP_ABORTED: not possible.
 */
static __always_inline int forward_by(__u32 protocol, struct packet *packet, const struct backend *backend,
				      const struct hop *hop, const struct choice *choice, bool is_plain)
{
	__u32 link = packet->ip_offset;
	struct tunnel tunnel;
	__u32 bytes;

	tunnel.source = backend->source;
	tunnel.source_low = choice->flow_label & ((1 << hop->source_bits) - 1);
	tunnel.destination = backend->address;
	tunnel.macs = hop->macs;
	tunnel.header_sum = backend->header_sum;
	tunnel.protocol = protocol;
	tunnel.source_port = GUE_SOURCE_PORTS | (choice->flow_label & GUE_SOURCE_MASK);
	tunnel.flow_label = choice->flow_label;
	tunnel.key = is_plain ? 0 : choice->key;
	tunnel.is_ipv6 = !is_plain && backend->flags & BACKEND_IPV6;
	bytes = is_plain ? IPV4_BYTES + shim_bytes(protocol) : outer_bytes(&tunnel);
	if (!fits(packet, backend, bytes)) {
		/* The next packet may carry a key, if the backend understands keys. */
		if (!tunnel.key && backend->flags & BACKEND_AGENT && has_key_place(protocol))
			bytes += KEY_BYTES;
		return RARE(does_not_fit(packet, backend, bytes));
	}
	take_hop(packet);
	if (hop->egress)
		set_tags(packet, hop->egress);
	if (bpf_xdp_adjust_head(packet->ctx, -(int)(bytes + packet->ip_offset - link)))
		return RARE(XDP_ABORTED);
	if (!write_outer(packet, &tunnel))
		return RARE(XDP_ABORTED);
	return send_out(packet->ctx, hop->ifindex);
}

/*
 * What forward_by is to do, for programs that few packets need: by a global function, which the verifier
 * judges once, with a stack of its own. A packet itself could not be passed to one. It lies in a map, as the
 * stack has no room for it beside the rest.
 */
struct errand {
	__u32 ip_offset;
	__u32 tags[MAX_VLAN_TAGS];
	__u32 ip_length;
	__u32 hops;
	__u32 protocol; /* of the outer header */
	__u32 is_ipv6;
	__u32 ifindex;
	__u32 source_bits;
	__u32 egress;
	__u32 key;
	__u32 flow_label;
	__u32 limit; /* the answer: as in struct packet */
	__u8 macs[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct errand);
} errands SEC(".maps");

__attribute__((noinline)) int run_errand(struct xdp_md *ctx, struct errand *errand,
					 const struct backend *backend)
{
	struct packet packet = {.ctx = ctx};
	struct choice choice = {};
	struct hop hop = {};
	int verdict;

	if (!errand || !backend)
		return XDP_ABORTED;
	packet.ip_offset = *(volatile __u32 *)&errand->ip_offset & 31;
	packet.tags[0] = errand->tags[0];
	packet.tags[1] = errand->tags[1];
	packet.frame = (void *)(long)ctx->data;
	packet.ip = packet.frame + packet.ip_offset;
	packet.ip_length = errand->ip_length;
	packet.hops = errand->hops;
	packet.is_ipv6 = errand->is_ipv6;
	hop.macs = errand->macs;
	hop.ifindex = errand->ifindex;
	hop.source_bits = errand->source_bits & 0xf;
	hop.egress = errand->egress;
	choice.key = errand->key;
	choice.flow_label = errand->flow_label;
	verdict = forward_by(errand->protocol, &packet, backend, &hop, &choice, false);
	errand->limit = packet.limit;
	return verdict;
}

static __always_inline int send_errand(__u32 protocol, struct packet *packet, const struct backend *backend,
				       const struct hop *hop, const struct choice *choice)
{
	__u32 only = 0;
	struct errand *errand = bpf_map_lookup_elem(&errands, &only);
	int verdict;

	if (!errand)
		return XDP_ABORTED; /* never */
	errand->ip_offset = packet->ip_offset;
	errand->tags[0] = packet->tags[0];
	errand->tags[1] = packet->tags[1];
	errand->ip_length = packet->ip_length;
	errand->hops = packet->hops;
	errand->protocol = protocol;
	errand->is_ipv6 = packet->is_ipv6;
	errand->ifindex = hop->ifindex;
	errand->source_bits = hop->source_bits;
	errand->egress = hop->egress;
	errand->key = choice->key;
	errand->flow_label = choice->flow_label;
	errand->limit = 0;
	copy_bytes_12(errand->macs, hop->macs);
	verdict = run_errand(packet->ctx, errand, backend);
	packet->limit = errand->limit;
	packet->frame = (void *)(long)packet->ctx->data; /* anew, as it may have been moved */
	packet->ip = packet->frame + packet->ip_offset;
	return verdict;
}

/* Direct routing: the next hop is the backend itself, which has the VIP on its loopback. */
static __always_inline int forward_by_l2(struct packet *packet, const struct backend *backend)
{
	if (packet->frame + ETHERNET_BYTES > packet_end(packet))
		return XDP_ABORTED;
	if (!fits(packet, backend, 0))
		return RARE(does_not_fit(packet, backend, 0));
	take_hop(packet);
	copy_bytes_12(packet->frame, backend->next_hop_mac);
	return send_out(packet->ctx, backend->ifindex);
}

/* What led here is one case from here on; it is many, and so are the ways that follow. */
static __always_inline void forget_choice(struct packet *packet, struct choice *choice, enum outcome *outcome)
{
	packet->is_ipv6 = forget(packet->is_ipv6, 1);
	packet->events = forget(packet->events, ~0U);
	packet->lost_swaps = forget(packet->lost_swaps, ~0U);
	choice->key = forget(choice->key, ~0U);
	*outcome = known_outcome(forget(*outcome, ~0U));
}

static __always_inline int forward_otherwise(struct packet *packet, const struct service *service,
					     const struct backend *backend, struct choice *choice,
					     enum outcome *outcome, bool is_rare)
{
	__u32 forwarding = forget(forwarding_of(backend, service), 0xff);
	struct hop hop = {.macs = backend->next_hop_mac,
			  .ifindex = backend->ifindex,
			  .source_bits = backend->source_bits & 0xf};
	__u32 protocol;

	forget_choice(packet, choice, outcome);
	if (backend->egress || forwarding == FORWARDING_NAT) {
		hand_on(packet, service, forwarding, choice);
		return XDP_ABORTED;
	}
	if (!backend->ifindex)
		return XDP_ABORTED;
	if (forwarding == FORWARDING_L2)
		return forward_by_l2(packet, backend);
	protocol = forget(protocol_of(forwarding, packet->is_ipv6), 0xff);
	return is_rare ? send_errand(protocol, packet, backend, &hop, choice)
		       : forward_by(protocol, packet, backend, &hop, choice, false);
}

/* GRE, with nothing special about the way. */
static __always_inline int forward_plainly(struct packet *packet, const struct backend *backend,
					   const struct choice *choice)
{
	struct hop hop = {.macs = backend->next_hop_mac, .ifindex = backend->ifindex};

	if (!backend->ifindex)
		return RARE(XDP_ABORTED);
	/* A branch, on which the processor guesses: it moves the head while the slot is still underway. */
	if (backend->flags & BACKEND_IPV6 || choice->key)
		return RARE(forward_by(PROTOCOL_GRE, packet, backend, &hop, choice, false));
	return forward_by(PROTOCOL_GRE, packet, backend, &hop, choice, true);
}

/* XDP_ABORTED: not possible, or it does not fit; then packet->limit says what would. `is_rare`: few packets
 * reach the program that asks. */
static __always_inline int forward(struct packet *packet, const struct service *service,
				   struct choice *choice, enum outcome *outcome, bool is_rare)
{
	const struct backend *backend = find_backend(choice->backend);

	if (!backend)
		return RARE(XDP_ABORTED);
	/* Has code of its own: 2 ns less a packet. */
	if ((*(const __u32 *)&backend->forwarding | service->forwarding) > FORWARDING_GRE)
		return RARE(forward_otherwise(packet, service, backend, choice, outcome, is_rare));
	return forward_plainly(packet, backend, choice);
}

#endif
