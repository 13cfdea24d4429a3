/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * GRE (RFC 2784, key: RFC 2890) around the IP packet: Ethernet header (with its VLAN tags), outer IP, GRE,
 * the inner IP packet as it came. Bytes behind the IP packet stay where they are and are not counted in the
 * outer length.
 */
#ifndef PORTICO_ENCAPSULATE_H
#define PORTICO_ENCAPSULATE_H

#include "packet.h"
#include "wire.h"

/* Largest that a length field of 16 bits can say. */
#define MAX_LENGTH 0xffff

/* Where an encapsulated packet goes. Addresses are 16 bytes, IPv4-mapped. */
struct tunnel {
	const __u8 *source;
	const __u8 *destination;
	const __u8 *macs; /* destination and source MAC, 12 bytes */
	__u32 header_sum; /* of the constant words of the outer IPv4 header */
	__u32 flow_label; /* 20 bits, for the outer IPv6 header */
	__u32 key;        /* 0: no GRE key */
	bool is_ipv6;
};

static __always_inline __u32 outer_bytes(const struct tunnel *tunnel)
{
	return (tunnel->is_ipv6 ? IPV6_BYTES : IPV4_BYTES) + GRE_BYTES + (tunnel->key ? GRE_KEY_BYTES : 0);
}

/* A packet of nearly 64 KiB grows too long for the outer length field. */
static __always_inline bool length_can_be_said(const struct packet *packet, const struct tunnel *tunnel)
{
	return packet->ip_length + outer_bytes(tunnel) <= MAX_LENGTH + (tunnel->is_ipv6 ? IPV6_BYTES : 0);
}

static __always_inline void write_outer_ipv4(struct ipv4 *outer, const struct tunnel *tunnel, __u32 length)
{
	__u32 sum = tunnel->header_sum + length;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*(__be32 *)outer = bpf_htonl(0x45000000 | length);
	*(__be32 *)&outer->id = bpf_htonl(IPV4_DF);
	*(__be32 *)&outer->ttl = bpf_htonl(OUTER_TTL << 24 | PROTOCOL_GRE << 16 | (~sum & 0xffff));
	outer->source = *(const __be32 *)(tunnel->source + 12);
	outer->destination = *(const __be32 *)(tunnel->destination + 12);
}

static __always_inline void write_outer_ipv6(struct ipv6 *outer, const struct tunnel *tunnel, __u32 length)
{
	outer->version_class_label = bpf_htonl(0x60000000 | tunnel->flow_label);
	*(__be32 *)&outer->payload_length =
	    bpf_htonl((length - IPV6_BYTES) << 16 | PROTOCOL_GRE << 8 | OUTER_TTL);
	copy_bytes_16(outer->source, tunnel->source);
	copy_bytes_16(outer->destination, tunnel->destination);
}

/*
 * Writes all headers before the inner packet, for which the frame's head has been moved. False: the frame is
 * too short, which cannot be.
 */
static __always_inline bool write_outer(const struct packet *packet, const struct tunnel *tunnel)
{
	void *data = (void *)(long)packet->ctx->data;
	void *end = packet_end(packet);
	void *outer = data + packet->ip_offset;
	__u32 outer_length = packet->ip_length + outer_bytes(tunnel);
	__be32 *gre;

	/* The inner packet is at least as long as its headers, so this always holds. */
	if (outer + IPV6_BYTES + GRE_BYTES + GRE_KEY_BYTES > end)
		return RARE(false);
	if (packet->ip_offset > ETHERNET_BYTES)
		*(__u32 *)(data + ETHERNET_BYTES - 2) = packet->tags[0];
	if (packet->ip_offset > ETHERNET_BYTES + VLAN_TAG_BYTES)
		*(__u32 *)(data + ETHERNET_BYTES + VLAN_TAG_BYTES - 2) = packet->tags[1];
	copy_bytes_12(data, tunnel->macs);
	if (tunnel->is_ipv6) {
		*(__be16 *)(outer - 2) = bpf_htons(ETHERTYPE_IPV6);
		write_outer_ipv6(outer, tunnel, outer_length);
		gre = outer + IPV6_BYTES;
	} else {
		*(__be16 *)(outer - 2) = bpf_htons(ETHERTYPE_IPV4);
		write_outer_ipv4(outer, tunnel, outer_length);
		gre = outer + IPV4_BYTES;
	}
	gre[0] = bpf_htonl((tunnel->key ? GRE_KEY_PRESENT << 16 : 0) |
			   (packet->is_ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4));
	if (tunnel->key)
		gre[1] = bpf_htonl(tunnel->key);
	return true;
}

/* XDP_TX or XDP_REDIRECT; XDP_ABORTED if the kernel refuses. */
static __always_inline int send_out(const struct xdp_md *ctx, __u32 ifindex)
{
	if (ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(ifindex, 0);
}

#endif
