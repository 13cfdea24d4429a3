/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Around the IP packet: Ethernet header (with its VLAN tags), outer IP, then GRE (RFC 2784, key: RFC 2890),
 * UDP and GUE (draft-ietf-intarea-gue, version 0), or nothing (IP in IP), and the inner IP packet as it came.
 * Bytes behind the IP packet stay where they are and are not counted in the outer length.
 */
#ifndef PORTICO_ENCAPSULATE_H
#define PORTICO_ENCAPSULATE_H

#include "packet.h"
#include "tags.h"
#include "wire.h"

/* Largest that a length field of 16 bits can say. */
#define MAX_LENGTH 0xffff

/* Where an encapsulated packet goes. Addresses are 16 bytes, IPv4-mapped. */
struct tunnel {
	const __u8 *source;
	const __u8 *destination;
	const __u8 *macs;  /* destination and source MAC, 12 bytes */
	__u32 source_low;  /* lowest bits of the source, which are 0 in `source`; at most 15 */
	__u32 header_sum;  /* of the constant words of an outer IPv4 header with GRE */
	__u32 protocol;    /* of the outer IP header: says what stands between the two */
	__u32 source_port; /* for GUE */
	__u32 flow_label;  /* 20 bits, for the outer IPv6 header */
	__u32 key;         /* other candidates; 0: none. Only for GRE and GUE */
	bool is_ipv6;
};

/* Of what stands between outer and inner IP header, without the key. */
static __always_inline __u32 shim_bytes(__u32 protocol)
{
	if (protocol == PROTOCOL_GRE)
		return GRE_BYTES;
	return protocol == PROTOCOL_UDP ? UDP_BYTES + GUE_BYTES : 0;
}

static __always_inline __u32 outer_bytes(const struct tunnel *tunnel)
{
	__u32 is_ipv6 = tunnel->is_ipv6;

	/* Without branches, which the verifier would follow from here on. */
	asm("" : "+r"(is_ipv6));
	return IPV4_BYTES + is_ipv6 * (IPV6_BYTES - IPV4_BYTES) + shim_bytes(tunnel->protocol) +
	       (__u32)(((__u64)tunnel->key + 0xffffffff) >> 32) * KEY_BYTES;
}

/* A packet of nearly 64 KiB grows too long for the outer length field. */
static __always_inline bool length_can_be_said(const struct packet *packet, const struct tunnel *tunnel)
{
	return packet->ip_length + outer_bytes(tunnel) <= MAX_LENGTH + (tunnel->is_ipv6 ? IPV6_BYTES : 0);
}

static __always_inline void write_outer_ipv4(struct ipv4 *outer, const struct tunnel *tunnel, __u32 length)
{
	__u32 sum = tunnel->header_sum - PROTOCOL_GRE + tunnel->protocol + length + tunnel->source_low;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*(__be32 *)outer = bpf_htonl(0x45000000 | length);
	*(__be32 *)&outer->id = bpf_htonl(IPV4_DF);
	*(__be32 *)&outer->ttl = bpf_htonl(OUTER_TTL << 24 | tunnel->protocol << 16 | (~sum & 0xffff));
	outer->source = *(const __be32 *)(tunnel->source + 12) | bpf_htonl(tunnel->source_low);
	outer->destination = *(const __be32 *)(tunnel->destination + 12);
}

static __always_inline void write_outer_ipv6(struct ipv6 *outer, const struct tunnel *tunnel, __u32 length)
{
	outer->version_class_label = bpf_htonl(0x60000000 | tunnel->flow_label);
	*(__be32 *)&outer->payload_length =
	    bpf_htonl((length - IPV6_BYTES) << 16 | tunnel->protocol << 8 | OUTER_TTL);
	copy_bytes_16(outer->source, tunnel->source);
	outer->source[3] |= bpf_htonl(tunnel->source_low);
	copy_bytes_16(outer->destination, tunnel->destination);
}

static __always_inline void write_gre(__be32 *gre, const struct packet *packet, __u32 key)
{
	gre[0] = bpf_htonl((key ? GRE_KEY_PRESENT << 16 : 0) |
			   (packet->is_ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4));
	if (key)
		gre[1] = bpf_htonl(key);
}

/*
 * The UDP checksum is 0: over IPv4 that is always allowed, over IPv6 for tunnels whose inner packets have
 * checksums of their own (RFC 6935, RFC 6936). The key is private data: what the length says beyond the
 * fields that flags announce, of which there are none.
 */
static __always_inline void write_gue(__be32 *udp, const struct packet *packet, const struct tunnel *tunnel)
{
	__u32 key_bytes = tunnel->key ? KEY_BYTES : 0;

	udp[0] = bpf_htonl(tunnel->source_port << 16 | GUE_PORT);
	udp[1] = bpf_htonl((UDP_BYTES + GUE_BYTES + key_bytes + packet->ip_length) << 16);
	udp[2] = bpf_htonl((key_bytes / 4) << 24 | (packet->is_ipv6 ? PROTOCOL_IPV6 : PROTOCOL_IPV4) << 16);
	if (key_bytes)
		udp[3] = bpf_htonl(tunnel->key);
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
	void *shim;

	/* The inner packet is at least as long as an IPv4 header, so this and the next always hold. */
	if (outer + IPV4_BYTES + GRE_BYTES + KEY_BYTES > end)
		return RARE(false);
	if (!write_tags(packet, data, ether_type(tunnel->is_ipv6)))
		return RARE(false);
	copy_bytes_12(data, tunnel->macs);
	if (tunnel->is_ipv6) {
		if (outer + IPV6_BYTES + GRE_BYTES + KEY_BYTES > end)
			return RARE(false);
		write_outer_ipv6(outer, tunnel, outer_length);
		shim = outer + IPV6_BYTES;
	} else {
		write_outer_ipv4(outer, tunnel, outer_length);
		shim = outer + IPV4_BYTES;
	}
	if (tunnel->protocol == PROTOCOL_GRE) {
		write_gre(shim, packet, tunnel->key);
	} else if (tunnel->protocol == PROTOCOL_UDP) {
		if (shim + UDP_BYTES + GUE_BYTES + KEY_BYTES > end)
			return RARE(false);
		write_gue(shim, packet, tunnel);
	}
	return true;
}

/* The tags that the packet leaves with. The frame is not changed yet. */
static __always_inline void set_tags(struct packet *packet, __u32 egress)
{
	if (egress & EGRESS_TAG) {
		packet->tags[0] = bpf_htonl(ETHERTYPE_VLAN << 16 | (egress & EGRESS_VLAN_MASK));
		packet->ip_offset = ETHERNET_BYTES + VLAN_TAG_BYTES;
	} else if (egress & EGRESS_STRIP) {
		packet->ip_offset = ETHERNET_BYTES;
	}
}

/* XDP_TX or XDP_REDIRECT; XDP_ABORTED if the kernel refuses. */
static __always_inline int send_out(const struct xdp_md *ctx, __u32 ifindex)
{
	if (ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(ifindex, 0);
}

#endif
