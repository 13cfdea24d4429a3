/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * An ICMP error quotes the beginning of the packet that it is about: the IP header and at least 8 bytes (RFC
 * 792; RFC 4443, 2.4 c). Anybody can send one, so nothing in it is believed but what the bytes at hand bear
 * out.
 */
#ifndef PORTICO_QUOTE_H
#define PORTICO_QUOTE_H

#include "parse.h"

/* Of the transport header, that every quote has. */
#define QUOTE_TRANSPORT_BYTES 8

/* The flow of the quoted packet as the client sends it: its address, then the VIP, as they lie on the wire.
 */
struct quoted {
	__u64 addresses[4]; /* IPv4: both in the first word */
	__u32 ports;        /* source and destination */
	__u8 protocol;
	__u8 zero[3];
	__u32 offset;    /* of the quoted IP header from the packet's own */
	__u32 transport; /* and of the quoted transport header */
};

static __always_inline bool is_error_type(const struct packet *packet, __u8 type)
{
	if (packet->is_ipv6) /* RFC 4443: unreachable, too big, time exceeded, parameter problem */
		return type >= 1 && type <= 4;
	return type == 3 || type == 11 ||
	       type == 12; /* RFC 792: the same; too big is a code of unreachable */
}

/* What the client would send from where the quoted packet went to. */
static __always_inline __u32 reverse_ports(__u32 ports)
{
	return ports << 16 | ports >> 16;
}

/* `offset`: of the quote from the packet's IP header. The quoted length is not looked at: some routers change
 * it. */
static __always_inline bool read_quoted_ipv4(const struct packet *packet, __u32 offset, struct quoted *quoted)
{
	struct ipv4 *outer = packet->ip;
	struct ipv4 ip;
	__u32 ports, transport;

	if (offset + IPV4_BYTES + QUOTE_TRANSPORT_BYTES > packet->ip_length ||
	    bpf_xdp_load_bytes(packet->ctx, packet->ip_offset + offset, &ip, sizeof(ip)))
		return false;
	if (ip.version_ihl < 0x45 || ip.version_ihl > 0x4f || ip.fragment & bpf_htons(IPV4_OFFSET_MASK))
		return false;
	if ((void *)(outer + 1) > packet_end(packet) || ip.source != outer->destination)
		return false;
	transport = offset + (ip.version_ihl & 0xf) * 4;
	if (transport + QUOTE_TRANSPORT_BYTES > packet->ip_length ||
	    bpf_xdp_load_bytes(packet->ctx, packet->ip_offset + transport, &ports, sizeof(ports)))
		return false;
	quoted->addresses[0] = ip.destination | (__u64)ip.source << 32;
	quoted->ports = reverse_ports(ports);
	quoted->protocol = ip.protocol;
	quoted->offset = offset;
	quoted->transport = transport;
	return true;
}

static __always_inline bool read_quoted_ipv6(const struct packet *packet, __u32 offset, struct quoted *quoted)
{
	__u64 header[IPV6_BYTES / 8];
	struct ipv6 *ip = (void *)header;
	__u64 *outer = packet->ip;
	struct packet inner = {
	    .ctx = packet->ctx,
	    .ip_offset = packet->ip_offset + offset,
	    .ip_length = packet->ip_length - offset,
	    .transport = IPV6_BYTES,
	};
	__u32 ports;

	if (offset + IPV6_BYTES + QUOTE_TRANSPORT_BYTES > packet->ip_length ||
	    bpf_xdp_load_bytes(inner.ctx, inner.ip_offset, header, sizeof(header)))
		return false;
	if ((void *)(outer + IPV6_BYTES / 8) > packet_end(packet) || *(__u8 *)header >> 4 != 6 ||
	    header[1] != outer[3] || header[2] != outer[4])
		return false;
	inner.protocol = ip->next_header;
	if (is_extension(inner.protocol) && walk_extensions(&inner) != PARSED_OK)
		return false;
	if (inner.transport + QUOTE_TRANSPORT_BYTES > inner.ip_length ||
	    bpf_xdp_load_bytes(inner.ctx, inner.ip_offset + inner.transport, &ports, sizeof(ports)))
		return false;
	copy_bytes_16(quoted->addresses, header + 3);
	copy_bytes_16(quoted->addresses + 2, header + 1);
	quoted->ports = reverse_ports(ports);
	quoted->protocol = inner.protocol;
	quoted->offset = offset;
	quoted->transport = offset + inner.transport;
	return true;
}

/*
 * The commonest quote, read in place, which saves three calls: no options or extension headers, all of it in
 * the linear part of the frame. False: it is another, or none; then it is looked at more closely.
 */
static __always_inline bool read_plain_ipv4(const struct packet *packet, struct quoted *quoted)
{
	struct ipv4 *outer = packet->ip;
	struct icmp *icmp = (void *)(outer + 1);
	struct ipv4 *ip = (void *)(icmp + 1);
	__u32 *ports = (void *)(ip + 1);

	if (packet->ip_length < 2 * IPV4_BYTES + ICMP_BYTES + QUOTE_TRANSPORT_BYTES ||
	    (void *)(ports + 1) > packet_end(packet))
		return false;
	if (!is_error_type(packet, icmp->type) || ip->version_ihl != 0x45 ||
	    ip->fragment & bpf_htons(IPV4_OFFSET_MASK) || ip->source != outer->destination)
		return false;
	quoted->addresses[0] = ip->destination | (__u64)ip->source << 32;
	quoted->ports = reverse_ports(*ports);
	quoted->protocol = ip->protocol;
	quoted->offset = IPV4_BYTES + ICMP_BYTES;
	quoted->transport = 2 * IPV4_BYTES + ICMP_BYTES;
	return true;
}

static __always_inline bool read_plain_ipv6(const struct packet *packet, struct quoted *quoted)
{
	__u64 *outer = packet->ip;
	struct icmp *icmp = (void *)(outer + IPV6_BYTES / 8);
	__u64 *header = (void *)(icmp + 1);
	struct ipv6 *ip = (void *)header;
	__u32 *ports = (void *)(header + IPV6_BYTES / 8);

	if (packet->ip_length < 2 * IPV6_BYTES + ICMP_BYTES + QUOTE_TRANSPORT_BYTES ||
	    (void *)(ports + 1) > packet_end(packet))
		return false;
	if (!is_error_type(packet, icmp->type) || *(__u8 *)header >> 4 != 6 ||
	    is_extension(ip->next_header) || header[1] != outer[3] || header[2] != outer[4])
		return false;
	copy_bytes_16(quoted->addresses, header + 3);
	copy_bytes_16(quoted->addresses + 2, header + 1);
	quoted->ports = reverse_ports(*ports);
	quoted->protocol = ip->next_header;
	quoted->offset = IPV6_BYTES + ICMP_BYTES;
	quoted->transport = 2 * IPV6_BYTES + ICMP_BYTES;
	return true;
}

/*
 * `packet` is ICMP, its lengths checked. False: no error, or none about a packet that its own destination
 * sent, or nothing in it that ports can be read from. A function of its own, so that its stack is free again
 * when the flow is looked for.
 */
static __attribute__((noinline)) bool read_quote(const struct packet *packet, struct quoted *quoted)
{
	__u32 offset = packet->transport + ICMP_BYTES;
	__u8 type;

	if (packet->is_plain &&
	    (packet->is_ipv6 ? read_plain_ipv6(packet, quoted) : read_plain_ipv4(packet, quoted)))
		return true;
	if (offset > packet->ip_length ||
	    bpf_xdp_load_bytes(packet->ctx, packet->ip_offset + packet->transport, &type, sizeof(type)) ||
	    !is_error_type(packet, type))
		return false;
	return packet->is_ipv6 ? read_quoted_ipv6(packet, offset, quoted)
			       : read_quoted_ipv4(packet, offset, quoted);
}

#endif
