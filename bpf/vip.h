/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Is the packet for a VIP, and for which of its services? */
#ifndef PORTICO_VIP_H
#define PORTICO_VIP_H

#include "packet.h"
#include "recent.h"

/*
 * The commonest of frames at a glance: IPv4 without tags and options, to an address that this CPU met lately,
 * of which the lengths fit. NULL: another one, to be read with care. What is for no VIP costs no more than
 * this. (Of IPv6 too it would be too much for the verifier of kernel 6.1.)
 */
static __always_inline const struct recent_vip *glance(const struct xdp_md *ctx, struct recent *recent,
						       __u32 generation, __u32 *ip_length)
{
	/* Anew, so that what is learned here of pointers is forgotten behind it. */
	void *data = (void *)(long)*(volatile __u32 *)&ctx->data;
	void *end = (void *)(long)*(volatile __u32 *)&ctx->data_end;
	struct ipv4 *ip = data + ETHERNET_BYTES;
	const struct recent_vip *place;
	__u64 address[2];
	__u32 length;

	if ((void *)(ip + 1) > end || ((struct ethernet *)data)->type != bpf_htons(ETHERTYPE_IPV4) ||
	    ip->version_ihl != 0x45)
		return NULL;
	length = bpf_ntohs(ip->total_length);
	/* After a swap of bytes kernel 6.1 knows no bound of a number. */
	asm volatile("" : "+r"(length));
	length &= 0xffff;
	*ip_length = length;
	map_ipv4((struct address *)address, ip->destination);
	place = &recent->vip[recent_place(address[0] ^ address[1])];
	if (data + ETHERNET_BYTES + length > end || place->address[0] != address[0] ||
	    place->address[1] != address[1] || place->generation != generation)
		return NULL;
	return place;
}

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
