/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Is the packet for a VIP, and for which of its services? */
#ifndef PORTICO_VIP_H
#define PORTICO_VIP_H

#include "packet.h"
#include "recent.h"

/* Subject 0: it is for none. */
static __always_inline struct vip find_vip(const struct packet *packet, struct recent *recent,
					   __u32 generation)
{
	struct address destination;

	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if (packet->ip + IPV6_BYTES > packet_end(packet))
			return RARE(((struct vip){}));
		copy_bytes_16(destination.bytes, ip->destination);
	} else {
		if (packet->ip + IPV4_BYTES > packet_end(packet))
			return RARE(((struct vip){}));
		map_ipv4(&destination, ((struct ipv4 *)packet->ip)->destination);
	}
	return find_vip_of(recent, (__u64 *)&destination, generation);
}

/* NULL: none on that port and protocol. */
static __always_inline const struct service *find_service(const struct packet *packet, struct recent *recent,
							  __u32 vip, __u32 generation)
{
	struct service_key key = {
	    .vip = vip,
	    .port = packet->ports >> 16, /* wire order on a little-endian machine: the second half */
	    .protocol = packet->protocol,
	};

	if (packet->protocol != PROTOCOL_TCP && packet->protocol != PROTOCOL_UDP)
		return RARE(NULL);
	return find_service_of(recent, &key, generation);
}

#endif
