/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Packets of our own prober: their source address says which backend they go to, dead or alive. */
#ifndef PORTICO_PROBE_H
#define PORTICO_PROBE_H

#include "forward.h"
#include "maps.h"
#include "packet.h"
#include "select.h"

static __always_inline __u32 *find_probed(const struct packet *packet)
{
	struct address mapped;

	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if (packet->ip + IPV6_BYTES > packet_end(packet))
			return NULL;
		return bpf_map_lookup_elem(&probe_sources, ip->source);
	}
	if (packet->ip + IPV4_BYTES > packet_end(packet))
		return NULL;
	map_ipv4(&mapped, ((struct ipv4 *)packet->ip)->source);
	return bpf_map_lookup_elem(&probe_sources, &mapped);
}

static __always_inline bool choose_probed(struct packet *packet, const struct settings *all,
					  struct choice *choice)
{
	__u32 *probed = find_probed(packet);
	struct siphash state;

	if (!probed)
		return false;
	hash_flow(packet, all, &state);
	choice->flow_label = sip_first_half(&state) & 0xfffff;
	choice->backend = *probed;
	return true;
}

#endif
