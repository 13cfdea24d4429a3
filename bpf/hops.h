/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* A balancer is a router: it takes one from the TTL or hop limit (RFC 1812, 5.3.1; RFC 8200, 3), or loops
 * would be endless. */
#ifndef PORTICO_HOPS_H
#define PORTICO_HOPS_H

#include "packet.h"

/* It must not go any further. */
static __always_inline bool is_expired(const struct packet *packet)
{
	return packet->hops <= 1;
}

/*
 * Before the head is moved. The TTL is the upper half of its word, so the checksum grows by 0x0100 (RFC
 * 1624): by 1 as the bytes lie on a little-endian machine, the carry added at the other end.
 */
static __always_inline void take_hop(struct packet *packet)
{
	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if (packet->ip + IPV6_BYTES <= packet_end(packet))
			ip->hop_limit = packet->hops - 1;
	} else {
		struct ipv4 *ip = packet->ip;
		__u32 sum;

		if (packet->ip + IPV4_BYTES > packet_end(packet))
			return;
		sum = ip->checksum + 1;
		ip->checksum = sum + ((sum + 1) >> 16);
		ip->ttl = packet->hops - 1;
	}
}

#endif
