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

static __always_inline void copy_bytes_16(void *to, const void *from)
{
	((__u64 *)to)[0] = ((const __u64 *)from)[0];
	((__u64 *)to)[1] = ((const __u64 *)from)[1];
}

static __always_inline void copy_bytes_12(void *to, const void *from)
{
	((__u64 *)to)[0] = ((const __u64 *)from)[0];
	((__u32 *)to)[2] = ((const __u32 *)from)[2];
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
 * Writes the headers of a frame whose head is already in place: `data` is its start, VLAN tags lie at their
 * old place, `moved` bytes further on than they must (0: already right). False: the frame is too short, which
 * cannot be.
 */
static __always_inline bool write_outer(const struct packet *packet, const struct tunnel *tunnel, int moved)
{
	void *data = (void *)(long)packet->ctx->data;
	void *end = packet_end(packet);
	void *outer = data + packet->ip_offset;
	__u32 outer_length = packet->ip_length + outer_bytes(tunnel);
	__be32 *gre;

	/* The inner packet is at least as long as its headers, so this always holds. */
	if (outer + IPV6_BYTES + GRE_BYTES + GRE_KEY_BYTES > end)
		return false;
	for (__u32 tag = ETHERNET_BYTES - 2; moved && tag < packet->ip_offset - 2; tag += VLAN_TAG_BYTES)
		*(__u32 *)(data + tag) = *(__u32 *)(data + tag + moved);
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
