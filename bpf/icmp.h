/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Echo requests to a VIP are answered on the spot. */
#ifndef PORTICO_ICMP_H
#define PORTICO_ICMP_H

#include "maps.h"
#include "packet.h"

#define ECHO_REQUEST_V4 8
#define ECHO_REPLY_V4 0
#define ECHO_REQUEST_V6 128
#define ECHO_REPLY_V6 129

static __always_inline bool is_icmp(const struct packet *packet)
{
	return packet->protocol == (packet->is_ipv6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP);
}

/* RFC 1624, equation 3: the checksum after a 16-bit word changed. */
static __always_inline __be16 update_checksum(__be16 checksum, __u16 from, __u16 to)
{
	__u32 sum = (__u16)~bpf_ntohs(checksum) + (__u16)~from + to;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return bpf_htons(~sum);
}

static __always_inline void swap_macs(struct ethernet *ethernet)
{
	__u16 *words = (__u16 *)ethernet;

#pragma unroll
	for (int i = 0; i < 3; i++) {
		__u16 destination = words[i];

		words[i] = words[i + 3];
		words[i + 3] = destination;
	}
}

static __always_inline void answer_ipv4(struct ipv4 *ip, struct icmp *icmp)
{
	__be32 destination = ip->destination;

	ip->destination = ip->source;
	ip->source = destination;
	ip->checksum =
	    update_checksum(ip->checksum, ip->ttl << 8 | ip->protocol, OUTER_TTL << 8 | ip->protocol);
	ip->ttl = OUTER_TTL;
	icmp->type = ECHO_REPLY_V4;
	icmp->checksum = update_checksum(icmp->checksum, ECHO_REQUEST_V4 << 8, ECHO_REPLY_V4 << 8);
	/* Where all else is zero, the sum of zero is 0xffff; and where it is not, 0xffff is as good as zero.
	 */
	if (!icmp->checksum)
		icmp->checksum = 0xffff;
}

static __always_inline void answer_ipv6(struct ipv6 *ip, struct icmp *icmp)
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		__be32 destination = ip->destination[i];

		ip->destination[i] = ip->source[i];
		ip->source[i] = destination;
	}
	ip->hop_limit = OUTER_TTL;
	icmp->type = ECHO_REPLY_V6;
	icmp->checksum = update_checksum(icmp->checksum, ECHO_REQUEST_V6 << 8, ECHO_REPLY_V6 << 8);
}

/* False: it is no echo request, or not one that is answered here. */
static __always_inline bool answer_echo(struct packet *packet, const struct vip *vip)
{
	__u32 header_bytes = packet->is_ipv6 ? IPV6_BYTES : IPV4_BYTES;
	struct icmp *icmp = packet->ip + header_bytes;

	if (!(vip->flags & VIP_ECHO) || !packet->is_plain || packet->ip_length < header_bytes + ICMP_BYTES ||
	    packet->frame + ETHERNET_BYTES > packet_end(packet) || (void *)(icmp + 1) > packet_end(packet))
		return false;
	if (icmp->code || icmp->type != (packet->is_ipv6 ? ECHO_REQUEST_V6 : ECHO_REQUEST_V4))
		return false;
	swap_macs(packet->frame);
	if (packet->is_ipv6)
		answer_ipv6(packet->ip, icmp);
	else
		answer_ipv4(packet->ip, icmp);
	return true;
}

#endif
