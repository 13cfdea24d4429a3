/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * An address and a port of a packet change in place, and with them the checksums over them (RFC 1624,
 * equation 3). Differences are sums of ones' complement, not folded: of 32-bit words, which is as good as of
 * 16-bit ones, in the machine's byte order, which is as good as any (RFC 1071, 2).
 */
#ifndef PORTICO_REWRITE_H
#define PORTICO_REWRITE_H

#include "packet.h"
#include "parse.h"

/* What one end of a packet becomes. */
struct end {
	const __u8 *address; /* 16 bytes, IPv4-mapped; of the packet's family */
	__be16 port;
	bool is_source;
};

static __always_inline __u64 difference_16(__u16 from, __u16 to)
{
	return (__u64)(__u16)~from + to;
}

static __always_inline __u64 difference_32(__u32 from, __u32 to)
{
	return (__u64)(__u32)~from + to;
}

static __always_inline __u64 difference_ipv6(const __u32 *from, const __u32 *to)
{
	return difference_32(from[0], to[0]) + difference_32(from[1], to[1]) + difference_32(from[2], to[2]) +
	       difference_32(from[3], to[3]);
}

/* The checksum after what it covers has changed. */
static __always_inline __u16 fix_checksum(__u16 checksum, __u64 difference)
{
	__u64 sum = (__u64)(__u16)~checksum + difference;

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* UDP: no checksum stays none, and a sum of 0 is written as 0xffff (RFC 768). */
static __always_inline __u16 fix_udp_checksum(__u16 checksum, __u64 difference)
{
	if (!checksum)
		return 0;
	return fix_checksum(checksum, difference) ?: 0xffff;
}

/* In the IP header, with its checksum. Gives the difference for the checksums over the pseudo header. */
static __always_inline __u64 rewrite_address(const struct packet *packet, const struct end *end)
{
	__u64 difference;

	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;
		__be32 *address = end->is_source ? ip->source : ip->destination;

		if ((void *)(ip + 1) > packet_end(packet))
			return 0;
		difference = difference_ipv6(address, (const __u32 *)end->address);
		copy_bytes_16(address, end->address);
	} else {
		struct ipv4 *ip = packet->ip;
		__be32 *address = end->is_source ? &ip->source : &ip->destination;
		__be32 to = *(const __be32 *)(end->address + 12);

		if ((void *)(ip + 1) > packet_end(packet))
			return 0;
		difference = difference_32(*address, to);
		*address = to;
		ip->checksum = fix_checksum(ip->checksum, difference);
	}
	return difference;
}

/* `difference`: of the pseudo header. False: not in the frame. */
static __always_inline bool rewrite_tcp(const struct packet *packet, const struct end *end, __u64 difference)
{
	struct tcp copy, *tcp = transport_header(packet, &copy, sizeof(copy));
	__be16 *port;

	if (!tcp)
		return false;
	port = end->is_source ? &tcp->ports.source : &tcp->ports.destination;
	tcp->checksum = fix_checksum(tcp->checksum, difference + difference_16(*port, end->port));
	*port = end->port;
	return tcp != &copy ||
	       !bpf_xdp_store_bytes(packet->ctx, packet->ip_offset + packet->transport, &copy, sizeof(copy));
}

static __always_inline bool rewrite_udp(const struct packet *packet, const struct end *end, __u64 difference)
{
	struct udp copy, *udp = transport_header(packet, &copy, sizeof(copy));
	__be16 *port;

	if (!udp)
		return false;
	port = end->is_source ? &udp->ports.source : &udp->ports.destination;
	udp->checksum = fix_udp_checksum(udp->checksum, difference + difference_16(*port, end->port));
	*port = end->port;
	return udp != &copy ||
	       !bpf_xdp_store_bytes(packet->ctx, packet->ip_offset + packet->transport, &copy, sizeof(copy));
}

/* A packet of TCP or UDP. */
static __always_inline bool rewrite_end(const struct packet *packet, const struct end *end)
{
	__u64 difference = rewrite_address(packet, end);

	if (packet->protocol == PROTOCOL_TCP)
		return rewrite_tcp(packet, end, difference);
	return rewrite_udp(packet, end, difference);
}

#endif
