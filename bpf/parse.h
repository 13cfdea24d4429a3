/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * From the first byte of the frame to the ports. Headers that nearly every packet has are read in place; what
 * is rare (options, extension headers, headers outside the linear part of a multi-buffer frame) is copied out
 * by bpf_xdp_load_bytes, which reaches all of it.
 */
#ifndef PORTICO_PARSE_H
#define PORTICO_PARSE_H

#include "packet.h"

#define MAX_EXTENSION_HEADERS 8

enum parsed {
	PARSED_OK,
	PARSED_MALFORMED,
	PARSED_FRAGMENT,
};

/* The bytes of the frame from the IP header on. The helper is only asked where the linear part does not
 * suffice. */
static __always_inline bool length_fits(const struct packet *packet, __u32 length)
{
	if (packet->ip + length <= packet_end(packet))
		return true;
	return packet->ip_offset + length <= bpf_xdp_get_buff_len(packet->ctx);
}

/*
 * Ethernet, at most two VLAN tags, and the fixed part of the IP header. False: no IP. A length that the frame
 * does not have is left to parse_transport, because it only matters for packets to a VIP.
 */
static __always_inline bool parse_ip(struct packet *packet)
{
	void *data = (void *)(long)packet->ctx->data;
	void *end = packet_end(packet);
	__u32 offset = ETHERNET_BYTES;
	__be16 type;

	packet->frame = data;
	if (data + ETHERNET_BYTES > end)
		return RARE(false);
	type = ((struct ethernet *)data)->type;
#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (type != bpf_htons(ETHERTYPE_VLAN) && type != bpf_htons(ETHERTYPE_QINQ))
			break;
		if (data + offset + VLAN_TAG_BYTES > end)
			return RARE(false);
		packet->tags[i] =
		    *(__u32 *)(data + offset - 2); /* with the type before it, without the one after */
		type = *(__be16 *)(data + offset + 2);
		offset += VLAN_TAG_BYTES;
	}
	packet->ip_offset = offset;
	packet->ip = data + offset;
	packet->is_ipv6 = type == bpf_htons(ETHERTYPE_IPV6);
	if (type == bpf_htons(ETHERTYPE_IPV4)) {
		struct ipv4 *ip = packet->ip;

		if (packet->ip + IPV4_BYTES > end || ip->version_ihl < 0x45 || ip->version_ihl > 0x4f)
			return RARE(false);
		packet->ip_length = bpf_ntohs(ip->total_length);
	} else if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if (packet->ip + IPV6_BYTES > end || *(__u8 *)packet->ip >> 4 != 6)
			return RARE(false);
		packet->ip_length = IPV6_BYTES + bpf_ntohs(ip->payload_length);
	} else {
		return RARE(false);
	}
	if (!length_fits(packet, packet->ip_length))
		packet->ip_length = forget(0, 0x1ffff);
	return true;
}

/* Frames with one tag and with two are one case from here on, beside that of frames without. */
static __always_inline void forget_tags(struct packet *packet)
{
	if (packet->ip_offset <= ETHERNET_BYTES)
		return;
	packet->ip_offset = ETHERNET_BYTES + VLAN_TAG_BYTES +
			    forget(packet->ip_offset - ETHERNET_BYTES - VLAN_TAG_BYTES, VLAN_TAG_BYTES);
	packet->frame = (void *)(long)*(volatile __u32 *)&packet->ctx->data;
	packet->ip = packet->frame + packet->ip_offset;
}

/* How the packet was read is one case from here on: for programs that go on to change it. */
static __always_inline void forget_reading(struct packet *packet)
{
	forget_tags(packet);
	packet->protocol = forget(packet->protocol, 0xff);
	packet->is_plain = forget(packet->is_plain, 1);
	packet->is_later = forget(packet->is_later, 1);
	packet->transport = forget(packet->transport, 0x1ffff);
	packet->ports = forget(packet->ports, ~0U);
}

static __always_inline enum parsed parse_ipv4(struct packet *packet)
{
	struct ipv4 *ip = packet->ip;
	__u32 header_bytes;

	if (packet->ip + IPV4_BYTES > packet_end(packet))
		return RARE(PARSED_MALFORMED);
	header_bytes = (ip->version_ihl & 0xf) * 4;
	if (packet->ip_length < header_bytes)
		return RARE(PARSED_MALFORMED);
	if (ip->fragment & bpf_htons(IPV4_FRAGMENT_MASK))
		return RARE(PARSED_FRAGMENT);
	packet->protocol = ip->protocol;
	packet->hops = ip->ttl;
	packet->is_plain = header_bytes == IPV4_BYTES;
	packet->transport = header_bytes;
	return PARSED_OK;
}

static __always_inline bool is_extension(__u8 protocol)
{
	return protocol == PROTOCOL_HOP_BY_HOP || protocol == PROTOCOL_ROUTING ||
	       protocol == PROTOCOL_FRAGMENT || protocol == PROTOCOL_AH ||
	       protocol == PROTOCOL_DESTINATION_OPTIONS;
}

/* Where a walk along extension headers stands, from the IP header on. */
struct walk {
	__u32 ip_offset;
	__u32 ip_length;
	__u32 offset;
	__u32 protocol;
};

/*
 * RFC 8200, section 4: from `walk->offset` on. Every header up to the transport header must lie inside of the
 * packet. An atomic fragment (RFC 6946) is a whole packet; at the header of any other the walk ends. A global
 * function: the verifier judges it once, and not for each kind of packet that has such headers.
 */
__attribute__((noinline)) int walk_headers(struct xdp_md *ctx, struct walk *walk)
{
	__u32 offset, protocol;

	if (!walk)
		return PARSED_MALFORMED;
	offset = walk->offset;
	protocol = walk->protocol;
	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		__u8 head[8];

		if (!is_extension(protocol))
			break;
		if (offset + sizeof(head) > walk->ip_length ||
		    bpf_xdp_load_bytes(ctx, walk->ip_offset + offset, head, sizeof(head)))
			return PARSED_MALFORMED;
		if (protocol == PROTOCOL_FRAGMENT) {
			if ((head[2] << 8 | head[3]) & IPV6_FRAGMENT_MASK) {
				walk->offset = offset;
				return PARSED_FRAGMENT;
			}
			offset += 8;
		} else if (protocol == PROTOCOL_AH) {
			offset += (head[1] + 2) * 4; /* RFC 4302 2.2: words of 4 bytes, minus 2 */
		} else {
			offset += (head[1] + 1) * 8;
		}
		protocol = head[0];
		if (offset > walk->ip_length)
			return PARSED_MALFORMED;
	}
	if (is_extension(protocol))
		return PARSED_MALFORMED;
	walk->protocol = protocol;
	walk->offset = offset;
	return PARSED_OK;
}

static __always_inline enum parsed walk_extensions(struct packet *packet)
{
	struct walk walk = {
	    .ip_offset = packet->ip_offset,
	    .ip_length = packet->ip_length,
	    .offset = packet->transport,
	    .protocol = packet->protocol,
	};
	int parsed = walk_headers(packet->ctx, &walk);

	if (parsed == PARSED_MALFORMED)
		return RARE(PARSED_MALFORMED);
	packet->transport = walk.offset;
	if (parsed == PARSED_FRAGMENT)
		return RARE(PARSED_FRAGMENT);
	packet->protocol = walk.protocol;
	return PARSED_OK;
}

static __always_inline enum parsed parse_ipv6(struct packet *packet)
{
	struct ipv6 *ip = packet->ip;

	if (packet->ip + IPV6_BYTES > packet_end(packet) || packet->ip_length == 0)
		return RARE(PARSED_MALFORMED);
	packet->protocol = ip->next_header;
	packet->hops = ip->hop_limit;
	packet->transport = IPV6_BYTES;
	/* A payload of 0 announces a jumbogram (RFC 2675), except before "no next header". */
	if (ip->payload_length == 0 && packet->protocol != PROTOCOL_NONE)
		return RARE(PARSED_MALFORMED);
	packet->is_plain = !is_extension(packet->protocol);
	return packet->is_plain ? PARSED_OK : walk_extensions(packet);
}

/*
 * The first `size` bytes of the transport header: in place, or copied to `copy`. NULL: not in the frame.
 * `size` is a constant and at most the bytes that the IP length has left.
 */
static __always_inline void *transport_header(const struct packet *packet, void *copy, __u32 size)
{
	if (packet->is_plain) {
		void *header = packet->ip + (packet->is_ipv6 ? IPV6_BYTES : IPV4_BYTES);

		if (header + size <= packet_end(packet))
			return header;
	}
	if (bpf_xdp_load_bytes(packet->ctx, packet->ip_offset + packet->transport, copy, size))
		return RARE(NULL);
	return copy;
}

static __always_inline enum parsed parse_tcp(struct packet *packet)
{
	__u32 payload_bytes = packet->ip_length - packet->transport;
	struct tcp copy, *tcp;
	__u32 header_bytes;

	if (payload_bytes < TCP_BYTES)
		return RARE(PARSED_MALFORMED);
	tcp = transport_header(packet, &copy, sizeof(copy));
	if (!tcp)
		return RARE(PARSED_MALFORMED);
	header_bytes = (tcp->data_offset >> 4) * 4;
	if (header_bytes < TCP_BYTES || header_bytes > payload_bytes)
		return RARE(PARSED_MALFORMED);
	packet->ports = *(__u32 *)&tcp->ports;
	packet->tcp_flags = tcp->flags;
	return PARSED_OK;
}

static __always_inline enum parsed parse_udp(struct packet *packet)
{
	__u32 payload_bytes = packet->ip_length - packet->transport;
	struct udp copy, *udp;
	__u32 length;

	if (payload_bytes < UDP_BYTES)
		return RARE(PARSED_MALFORMED);
	udp = transport_header(packet, &copy, sizeof(copy));
	if (!udp)
		return RARE(PARSED_MALFORMED);
	length = bpf_ntohs(udp->length);
	if (length < UDP_BYTES || length > payload_bytes)
		return RARE(PARSED_MALFORMED);
	packet->ports = *(__u32 *)&udp->ports;
	packet->tcp_flags = forget(0, 0xff);
	return PARSED_OK;
}

/* Lengths, fragments and extension headers, then the ports of TCP and UDP. */
static __always_inline enum parsed parse_transport(struct packet *packet)
{
	enum parsed parsed = packet->is_ipv6 ? parse_ipv6(packet) : parse_ipv4(packet);

	if (parsed != PARSED_OK)
		return parsed;
	if (packet->protocol == PROTOCOL_TCP)
		return parse_tcp(packet);
	if (packet->protocol == PROTOCOL_UDP)
		return parse_udp(packet);
	return PARSED_OK;
}

#endif
