/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Clients by prefix: /24 of IPv4, /48 of IPv6, what one customer has at most. Bounds are for each. */
#ifndef PORTICO_PREFIX_H
#define PORTICO_PREFIX_H

#include "packet.h"
#include "siphash.h"

#define PREFIX_BYTES_IPV4 3
#define PREFIX_BYTES_IPV6 6

/* Keyed, so that nobody can choose to meet somebody else's. */
static __always_inline __u64 hash_prefix(const struct packet *packet, const struct settings *all)
{
	struct siphash state;
	__u64 word;

	sip_start(&state, all->key);
	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if ((void *)(ip + 1) > packet_end(packet))
			return 0;
		word = *(__u64 *)ip->source & 0xffffffffffff;
		sip_word(&state, word | (__u64)PREFIX_BYTES_IPV6 << 56);
	} else {
		struct ipv4 *ip = packet->ip;

		if ((void *)(ip + 1) > packet_end(packet))
			return 0;
		word = ip->source & bpf_htonl(0xffffff00);
		sip_word(&state, word | (__u64)PREFIX_BYTES_IPV4 << 56);
	}
	return sip_first_half(&state);
}

static __always_inline __u32 prefix_region(__u64 hash)
{
	return (hash >> 32) * FRAGMENT_REGIONS >> 32;
}

#endif
