/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* To the backend that was chosen. */
#ifndef PORTICO_FORWARD_H
#define PORTICO_FORWARD_H

#include "encapsulate.h"
#include "hops.h"
#include "maps.h"
#include "mtu.h"
#include "nat.h"
#include "packet.h"

struct choice {
	__u32 backend;
	__u32 key; /* other candidates; 0: none */
	__u32 flow_label;
	__u32 outcome; /* enum outcome, if it is sent */
};

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

/* `protocol`: of the outer IP header. XDP_ABORTED: not possible. */
static __always_inline int forward_by(__u32 protocol, struct packet *packet, const struct backend *backend,
				      const struct choice *choice)
{
	struct tunnel tunnel;
	__u32 bytes;

	tunnel.source = backend->source;
	tunnel.destination = backend->address;
	tunnel.macs = backend->next_hop_mac;
	tunnel.header_sum = backend->header_sum;
	tunnel.protocol = protocol;
	tunnel.source_port = GUE_SOURCE_PORTS | (choice->flow_label & GUE_SOURCE_MASK);
	tunnel.flow_label = choice->flow_label;
	tunnel.key = choice->key;
	tunnel.is_ipv6 = backend->flags & BACKEND_IPV6;
	bytes = outer_bytes(&tunnel);
	if (!fits(packet, backend, bytes)) {
		/* The next packet may carry a key, if the backend understands keys. */
		if (!tunnel.key && backend->flags & BACKEND_AGENT && has_key_place(protocol))
			bytes += KEY_BYTES;
		return RARE(does_not_fit(packet, backend, bytes));
	}
	take_hop(packet);
	if (bpf_xdp_adjust_head(packet->ctx, -(int)bytes))
		return RARE(XDP_ABORTED);
	if (!write_outer(packet, &tunnel))
		return RARE(XDP_ABORTED);
	return send_out(packet->ctx, backend->ifindex);
}

/* Direct routing: the next hop is the backend itself, which has the VIP on its loopback. */
static __always_inline int forward_by_l2(struct packet *packet, const struct backend *backend)
{
	if (packet->frame + ETHERNET_BYTES > packet_end(packet))
		return XDP_ABORTED;
	take_hop(packet);
	copy_bytes_12(packet->frame, backend->next_hop_mac);
	return send_out(packet->ctx, backend->ifindex);
}

static __always_inline int forward_otherwise(struct packet *packet, const struct service *service,
					     const struct backend *backend, const struct choice *choice)
{
	__u32 forwarding = forwarding_of(backend, service);

	if (forwarding < FORWARDING_L2)
		return forward_by(protocol_of(forwarding, packet->is_ipv6), packet, backend, choice);
	if (!fits(packet, backend, 0))
		return RARE(does_not_fit(packet, backend, 0));
	if (forwarding == FORWARDING_L2)
		return forward_by_l2(packet, backend);
	forward_by_nat(packet, service, choice->backend, choice->outcome);
	return XDP_ABORTED;
}

/* XDP_ABORTED: not possible, or it does not fit; then packet->limit says what would. */
static __always_inline int forward(struct packet *packet, const struct service *service,
				   const struct choice *choice)
{
	const struct backend *backend = find_backend(choice->backend);

	if (!backend || !backend->ifindex)
		return RARE(XDP_ABORTED);
	/* GRE by both, with nothing special about the way, has code of its own: 2 ns less a packet. */
	if ((*(const __u32 *)&backend->forwarding | service->forwarding) > FORWARDING_GRE)
		return RARE(forward_otherwise(packet, service, backend, choice));
	return forward_by(PROTOCOL_GRE, packet, backend, choice);
}

#endif
