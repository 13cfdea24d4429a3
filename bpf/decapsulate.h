/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The outer headers of an encapsulated packet: checked, and taken off. */
#ifndef PORTICO_DECAPSULATE_H
#define PORTICO_DECAPSULATE_H

#include "packet.h"
#include "parse.h"
#include "tags.h"

struct outer {
	__u32 bytes;       /* of all headers before the inner packet */
	__u32 protocol;    /* GRE, UDP (GUE), IPv4 or IPv6 (IP in IP) */
	__u32 source_port; /* of GUE */
	__u32 key;         /* first << 16 | second: other backends that the packet may belong to; 0: none */
	__u32 flow_label;
};

/* Of UDP, only what goes to the port of GUE is encapsulated. */
static __always_inline bool is_encapsulated(const struct packet *packet, struct outer *outer)
{
	struct udp *udp = packet->ip + outer->bytes;
	/* Read anew: of a copy that it kept the compiler clears the upper half, which the verifier refuses.
	 */
	__u32 end = *(volatile __u32 *)&packet->ctx->data_end;

	switch (outer->protocol) {
	case PROTOCOL_GRE:
	case PROTOCOL_IPV4:
	case PROTOCOL_IPV6:
		return true;
	case PROTOCOL_UDP:
		if ((void *)udp + UDP_BYTES > (void *)(long)end ||
		    udp->ports.destination != bpf_htons(GUE_PORT))
			return false;
		outer->source_port = bpf_ntohs(udp->ports.source);
		return true;
	}
	return false;
}

/* Is it encapsulated, without IPv4 options or IPv6 extension headers? Then where from and where to. */
static __always_inline bool read_outer_ip(const struct packet *packet, struct outer *outer,
					  struct address *source, struct address *destination)
{
	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if (packet->ip + IPV6_BYTES > packet_end(packet))
			return false;
		copy_bytes_16(source->bytes, ip->source);
		copy_bytes_16(destination->bytes, ip->destination);
		outer->bytes = IPV6_BYTES;
		outer->protocol = ip->next_header;
		outer->flow_label = bpf_ntohl(ip->version_class_label) & 0xfffff;
	} else {
		struct ipv4 *ip = packet->ip;

		if (packet->ip + IPV4_BYTES > packet_end(packet) || ip->version_ihl != 0x45 ||
		    ip->fragment & bpf_htons(IPV4_FRAGMENT_MASK))
			return false;
		map_ipv4(source, ip->source);
		map_ipv4(destination, ip->destination);
		outer->bytes = IPV4_BYTES;
		outer->protocol = ip->protocol;
		outer->flow_label = 0;
	}
	return is_encapsulated(packet, outer);
}

/* Flags (only a key may be there), protocol and key. Fills the family of `inner`. */
static __always_inline bool read_gre(const struct packet *packet, struct outer *outer, struct packet *inner)
{
	__be16 *gre = packet->ip + outer->bytes;

	outer->bytes += GRE_BYTES;
	if ((void *)gre + GRE_BYTES > packet_end(packet) || packet->ip_length < outer->bytes)
		return false;
	inner->is_ipv6 = gre[1] == bpf_htons(ETHERTYPE_IPV6);
	if (!inner->is_ipv6 && gre[1] != bpf_htons(ETHERTYPE_IPV4))
		return false;
	outer->key = 0;
	if (gre[0] == 0)
		return true;
	outer->bytes += KEY_BYTES;
	if (gre[0] != bpf_htons(GRE_KEY_PRESENT) || packet->ip_length < outer->bytes ||
	    (void *)gre + GRE_BYTES + KEY_BYTES > packet_end(packet))
		return false;
	outer->key = bpf_ntohl(*(__be32 *)(gre + 2));
	return true;
}

/* Version 0, no flags, at most a key. Fills the family of `inner`. UDP checksums are not looked at: inner
 * packets have their own. */
static __always_inline bool read_gue(const struct packet *packet, struct outer *outer, struct packet *inner)
{
	struct udp *udp = packet->ip + outer->bytes;
	struct gue *gue = (void *)(udp + 1);
	__u32 udp_bytes = packet->ip_length - outer->bytes;

	outer->bytes += UDP_BYTES + GUE_BYTES;
	if ((void *)(gue + 1) > packet_end(packet) || packet->ip_length < outer->bytes)
		return false;
	inner->is_ipv6 = gue->protocol == PROTOCOL_IPV6;
	if ((!inner->is_ipv6 && gue->protocol != PROTOCOL_IPV4) || gue->flags ||
	    bpf_ntohs(udp->length) != udp_bytes)
		return false;
	outer->key = 0;
	if (gue->version_length == 0)
		return true;
	outer->bytes += KEY_BYTES;
	if (gue->version_length != KEY_BYTES / 4 || packet->ip_length < outer->bytes ||
	    (void *)(gue + 1) + KEY_BYTES > packet_end(packet))
		return false;
	outer->key = bpf_ntohl(*(__be32 *)(gue + 1));
	return true;
}

static __always_inline bool read_shim(const struct packet *packet, struct outer *outer, struct packet *inner)
{
	if (outer->protocol == PROTOCOL_GRE)
		return read_gre(packet, outer, inner);
	if (outer->protocol == PROTOCOL_UDP)
		return read_gue(packet, outer, inner);
	inner->is_ipv6 = outer->protocol == PROTOCOL_IPV6;
	return packet->ip_length >= outer->bytes;
}

/* The inner IP header, its length checked against the outer one, and the destination. */
static __always_inline bool read_inner_ip(const struct packet *packet, const struct outer *outer,
					  struct packet *inner, struct address *destination)
{
	__u32 room = packet->ip_length - outer->bytes;
	void *start = packet->ip + outer->bytes;

	inner->ctx = packet->ctx;
	inner->frame = packet->frame;
	inner->ip = start;
	inner->ip_offset = packet->ip_offset + outer->bytes;
	if (inner->is_ipv6) {
		struct ipv6 *ip = start;

		if (start + IPV6_BYTES > packet_end(packet) || *(__u8 *)start >> 4 != 6)
			return false;
		inner->ip_length = IPV6_BYTES + bpf_ntohs(ip->payload_length);
		copy_bytes_16(destination->bytes, ip->destination);
	} else {
		struct ipv4 *ip = start;

		if (start + IPV4_BYTES > packet_end(packet) || ip->version_ihl < 0x45 ||
		    ip->version_ihl > 0x4f)
			return false;
		inner->ip_length = bpf_ntohs(ip->total_length);
		if (inner->ip_length < (ip->version_ihl & 0xf) * 4)
			return false;
		map_ipv4(destination, ip->destination);
	}
	return inner->ip_length <= room;
}

/* The Ethernet header, with its VLAN tags, moves up to the inner packet. */
static __always_inline bool strip_outer(const struct packet *packet, const struct packet *inner,
					const struct outer *outer)
{
	void *from = packet->frame;
	void *to = from + outer->bytes;

	/* Always true: the inner header is longer than the Ethernet header's growth by tags. */
	if (to + ETHERNET_BYTES + MAX_VLAN_TAGS * VLAN_TAG_BYTES > packet_end(packet))
		return false;
	copy_bytes_12(to, from);
	return write_tags(packet, to, ether_type(inner->is_ipv6)) &&
	       bpf_xdp_adjust_head(packet->ctx, outer->bytes) == 0;
}

#endif
