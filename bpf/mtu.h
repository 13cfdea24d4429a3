/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What is too long for the way to its backend once all headers are around it is never sent. */
#ifndef PORTICO_MTU_H
#define PORTICO_MTU_H

#include "packet.h"

/* What every path carries: RFC 791, 3.2; RFC 8200, 5. No sender may be told of less. */
#define LEAST_MTU_IPV4 68
#define LEAST_MTU_IPV6 1280

/* `bytes`: of the headers that this packet gets. */
static __always_inline bool fits(const struct packet *packet, const struct backend *backend, __u32 bytes)
{
	return packet->ip_length + bytes <= backend->mtu;
}

/* Notes what would fit. `most_bytes`: of the longest headers that the flow may meet. For the caller to
 * return. */
static __always_inline int does_not_fit(struct packet *packet, const struct backend *backend,
					__u32 most_bytes)
{
	__u32 least = packet->is_ipv6 ? LEAST_MTU_IPV6 : LEAST_MTU_IPV4;

	packet->limit = backend->mtu > most_bytes + least ? backend->mtu - most_bytes : least;
	return XDP_ABORTED;
}

/*
 * After `does_not_fit`: is it the sender who has to send less at a time? Not where DF is off, and not where
 * the packet is as short as any path must carry it: on a path that cannot carry 1280 bytes of IPv6 and the
 * headers around them, a link of our own making, fragmentation is our part (RFC 8200, 5; RFC 2473, 7.1).
 */
static __always_inline bool is_senders_part(const struct packet *packet)
{
	if (packet->ip_length <= packet->limit)
		return false;
	if (packet->is_ipv6)
		return true;
	return packet->ip + IPV4_BYTES <= packet_end(packet) &&
	       ((struct ipv4 *)packet->ip)->fragment & bpf_htons(IPV4_DF);
}

#endif
