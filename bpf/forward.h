/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* To the backend that was chosen. */
#ifndef PORTICO_FORWARD_H
#define PORTICO_FORWARD_H

#include "encapsulate.h"
#include "hops.h"
#include "maps.h"
#include "packet.h"

struct choice {
	__u32 backend;
	__u32 key; /* other candidates; 0: none */
	__u32 flow_label;
};

/* A backend's own mode goes before its service's. */
static __always_inline __u32 forwarding_of(const struct backend *backend, const struct service *service)
{
	return backend->forwarding ?: service->forwarding;
}

static __always_inline __u32 protocol_of(__u32 forwarding, bool is_ipv6)
{
	if (forwarding == FORWARDING_IPIP)
		return is_ipv6 ? PROTOCOL_IPV6 : PROTOCOL_IPV4;
	return forwarding == FORWARDING_GUE ? PROTOCOL_UDP : PROTOCOL_GRE;
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
	if (!length_can_be_said(packet, &tunnel))
		return RARE(XDP_ABORTED);
	take_hop(packet);
	if (bpf_xdp_adjust_head(packet->ctx, -(int)bytes))
		return RARE(XDP_ABORTED);
	if (!write_outer(packet, &tunnel))
		return RARE(XDP_ABORTED);
	return send_out(packet->ctx, backend->ifindex);
}

/* XDP_ABORTED: not possible. */
static __always_inline int forward(struct packet *packet, const struct service *service,
				   const struct choice *choice)
{
	const struct backend *backend = find_backend(choice->backend);
	__u32 forwarding;

	if (!backend || !backend->ifindex)
		return RARE(XDP_ABORTED);
	/* GRE by both has code of its own, without branches for the others: 2 ns less a packet. */
	if ((backend->forwarding | service->forwarding) > FORWARDING_GRE) {
		forwarding = forwarding_of(backend, service);
		return RARE(forward_by(protocol_of(forwarding, packet->is_ipv6), packet, backend, choice));
	}
	return forward_by(PROTOCOL_GRE, packet, backend, choice);
}

#endif
