/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What stands behind the MAC addresses: VLAN tags and the EtherType. */
#ifndef PORTICO_TAGS_H
#define PORTICO_TAGS_H

#include "packet.h"
#include "wire.h"

/*
 * In the frame that begins at `data`. False: it is too short, which the frame of an IP packet is not. Each
 * number of tags has code of its own: places are constants in it.
 */
static __always_inline bool write_tags(const struct packet *packet, void *data, __be16 type)
{
	if (data + ETHERNET_BYTES > packet_end(packet))
		return RARE(false);
	if (packet->ip_offset <= ETHERNET_BYTES) {
		*(__be16 *)(data + ETHERNET_BYTES - 2) = type;
		return true;
	}
	if (data + ETHERNET_BYTES + MAX_VLAN_TAGS * VLAN_TAG_BYTES > packet_end(packet))
		return RARE(false);
	*(__u32 *)(data + ETHERNET_BYTES - 2) = packet->tags[0];
	if (packet->ip_offset > ETHERNET_BYTES + VLAN_TAG_BYTES) {
		*(__u32 *)(data + ETHERNET_BYTES + VLAN_TAG_BYTES - 2) = packet->tags[1];
		*(__be16 *)(data + ETHERNET_BYTES + 2 * VLAN_TAG_BYTES - 2) = type;
	} else {
		*(__be16 *)(data + ETHERNET_BYTES + VLAN_TAG_BYTES - 2) = type;
	}
	return true;
}

static __always_inline __be16 ether_type(bool is_ipv6)
{
	return bpf_htons(is_ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
}

#endif
