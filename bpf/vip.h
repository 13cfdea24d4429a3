/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Is the packet for a VIP, and for which of its services? */
#ifndef PORTICO_VIP_H
#define PORTICO_VIP_H

#include "maps.h"
#include "packet.h"

static __always_inline struct vip *find_vip(const struct packet *packet)
{
	struct address mapped;

	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if (packet->ip + IPV6_BYTES > packet_end(packet))
			return NULL;
		return bpf_map_lookup_elem(&vips, ip->destination);
	}
	if (packet->ip + IPV4_BYTES > packet_end(packet))
		return NULL;
	map_ipv4(&mapped, ((struct ipv4 *)packet->ip)->destination);
	return bpf_map_lookup_elem(&vips, &mapped);
}

static __always_inline struct service *find_service(const struct packet *packet, __u32 vip)
{
	struct service_key key = {
	    .vip = vip,
	    .port = packet->ports >> 16, /* wire order on a little-endian machine: the second half */
	    .protocol = packet->protocol,
	};
	struct service *service;

	if (packet->protocol != PROTOCOL_TCP && packet->protocol != PROTOCOL_UDP)
		return NULL;
	service = bpf_map_lookup_elem(&services, &key);
	if (service)
		return service;
	key.port = 0;
	return bpf_map_lookup_elem(&services, &key);
}

#endif
