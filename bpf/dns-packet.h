/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* From the first byte of the frame to the DNS message: is it for us at all? */
#ifndef PORTICO_DNS_PACKET_H
#define PORTICO_DNS_PACKET_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "dns-maps.h"
#include "packet.h"
#include "wire.h"

#define HEADER_BYTES 12
/* Header, the shortest question, nothing else. */
#define MIN_MESSAGE_BYTES 17
/* A longer one has more than we know how to answer. */
#define MAX_MESSAGE_BYTES 512

/* The query in hand. Offsets of the message count from its header. */
struct query {
	__u64 source[2]; /* as it lies on the wire; IPv4 in the lower half of the first */
	__u32 udp;       /* offset of the UDP header in the frame */
	__u32 frame;     /* bytes of the frame */
	__u32 length;    /* bytes of the message */
	__u32 partial;   /* sum of the pseudo-header, folded */
	bool is_ipv6;
	bool is_dnssec_ok;
	bool has_edns;
	bool has_subnet;
	bool has_good_cookie;
	__u8 has_cookie;
	__u8 scope;
	__u8 subnet_source;  /* bits */
	__u16 subnet_family; /* as on the wire */
	__u32 type;          /* 0, 1, 2: A, AAAA, HTTPS */
	__u32 question;      /* end of the question */
	__u32 limit;         /* bytes of the answer */
	__u32 removed;       /* sum of what stands behind the question, folded, from an even offset on */
	__u64 subnet[2];     /* address of the client subnet as it lies on the wire, zeros behind it */
	__u64 cookie[3];     /* as it goes out */
};

/*
 * Where the frame begins and ends, asked anew each time: what the verifier has learned of other pointers is
 * nothing to it then, and states that differ in that alone are one.
 */
static __always_inline void *frame_begin(struct xdp_md *ctx)
{
	void *begin;

	asm volatile("%0 = *(u32 *)(%1 + 0)" : "=r"(begin) : "r"(ctx));
	return begin;
}

static __always_inline void *frame_end(struct xdp_md *ctx)
{
	void *end;

	asm volatile("%0 = *(u32 *)(%1 + 4)" : "=r"(end) : "r"(ctx));
	return end;
}

/*
 * The frame's byte at `offset`, of which the verifier is to know that it is at most `mask`. By hand: the
 * compiler would leave out what it knows itself, and add in 32 bits, which is refused for pointers.
 */
#define PLACE(data, offset, mask)                                                                            \
	({                                                                                                   \
		__u64 place = (offset);                                                                      \
		asm volatile("%0 &= %1" : "+r"(place) : "i"(mask));                                          \
		(data) + place;                                                                              \
	})

/* By hand for the same reason. */
static __always_inline __u32 frame_bytes(void *data, void *end)
{
	__u64 bytes = (__u64)end;

	asm volatile("%0 -= %1" : "+r"(bytes) : "r"(data));
	return bytes;
}

static __always_inline __u32 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u64 sum_word(__u64 word)
{
	return (word & 0xffffffff) + (word >> 32);
}

/* The same bytes one byte further on. */
static __always_inline __u32 shift_sum(__u32 folded, __u32 is_odd)
{
	return is_odd ? (folded >> 8 | folded << 8) & 0xffff : folded;
}

static __always_inline bool is_served(const struct dns_settings *settings, __u64 first, __u64 second,
				      __be16 port)
{
	for (__u32 i = 0; i < DNS_MAX_LISTEN; i++) {
		if (i >= settings->listens)
			return false;
		if (settings->listen_address[2 * i + 1] == second &&
		    settings->listen_address[2 * i] == first && settings->listen_port[i] == port)
			return true;
	}
	return false;
}

/* 0, 127, and what is for many or nobody: the kernel would not answer them either. */
static __always_inline bool is_answerable_ipv4(__be32 address)
{
	__u32 first = address & 0xff;

	return first != 0 && first != 127 && first < 224;
}

/* Neither ::, ::1 or any other of ::/32 with the mapped ones, nor multicast. */
static __always_inline bool is_answerable_ipv6(__u64 first)
{
	return (__u32)first != 0 && (first & 0xff) != 0xff;
}

/* Ports whose services answer anything, and 0: the process counts them. */
static __always_inline bool is_answerable_port(__be16 port)
{
	return port != 0 && port != bpf_htons(7) && port != bpf_htons(17) && port != bpf_htons(19);
}

static __always_inline enum dns_outcome read_ipv4(struct query *query, const struct dns_settings *settings,
						  void *ip, void *end)
{
	struct ipv4 *head = ip;
	struct udp *udp;

	if (ip + IPV4_BYTES + UDP_BYTES > end || head->protocol != PROTOCOL_UDP)
		return DNS_NOT_OURS;
	udp = ip + IPV4_BYTES;
	if (!is_served(settings, 0, (__u64)head->destination << 32 | 0xffff0000, udp->ports.destination))
		return DNS_NOT_OURS;
	/* Of a packet with options these were no ports, but it goes the same way. */
	if (head->version_ihl != 0x45 || head->fragment & bpf_htons(IPV4_FRAGMENT_MASK) ||
	    !is_answerable_ipv4(head->source) || !is_answerable_port(udp->ports.source))
		return DNS_UP_PACKET;
	if (bpf_ntohs(head->total_length) != IPV4_BYTES + bpf_ntohs(udp->length))
		return DNS_UP_PACKET;
	query->source[0] = head->source;
	query->source[1] = 0;
	query->partial =
	    fold((__u64)head->source + head->destination + bpf_htons(PROTOCOL_UDP) + udp->length);
	query->length = bpf_ntohs(udp->length);
	query->udp += IPV4_BYTES;
	return DNS_ANSWERED;
}

static __always_inline enum dns_outcome read_ipv6(struct query *query, const struct dns_settings *settings,
						  void *ip, void *end)
{
	struct ipv6 *head = ip;
	__u64 *addresses = (__u64 *)head->source;
	struct udp *udp;

	/* Behind extension headers: the process reads on. */
	if (ip + IPV6_BYTES + UDP_BYTES > end || head->next_header != PROTOCOL_UDP)
		return DNS_NOT_OURS;
	udp = ip + IPV6_BYTES;
	if (!is_served(settings, addresses[2], addresses[3], udp->ports.destination))
		return DNS_NOT_OURS;
	if (!is_answerable_ipv6(addresses[0]) || !is_answerable_port(udp->ports.source) || !udp->checksum)
		return DNS_UP_PACKET;
	if (head->payload_length != udp->length)
		return DNS_UP_PACKET;
	query->source[0] = addresses[0];
	query->source[1] = addresses[1];
	query->partial = fold(sum_word(addresses[0]) + sum_word(addresses[1]) + sum_word(addresses[2]) +
			      sum_word(addresses[3]) + bpf_htons(PROTOCOL_UDP) + udp->length);
	query->length = bpf_ntohs(udp->length);
	query->udp += IPV6_BYTES;
	return DNS_ANSWERED;
}

/* Everything up to the message. DNS_ANSWERED: so far it can be. */
static __always_inline enum dns_outcome read_packet(struct xdp_md *ctx, struct query *query,
						    const struct dns_settings *settings)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	__u32 offset = ETHERNET_BYTES;
	enum dns_outcome outcome;
	__be16 type;

	if (data + ETHERNET_BYTES > end)
		return DNS_NOT_OURS;
	type = ((struct ethernet *)data)->type;
#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (type != bpf_htons(ETHERTYPE_VLAN) && type != bpf_htons(ETHERTYPE_QINQ))
			break;
		if (data + offset + VLAN_TAG_BYTES > end)
			return DNS_NOT_OURS;
		type = *(__be16 *)(data + offset + 2);
		offset += VLAN_TAG_BYTES;
	}
	/* Frames with tags and without are one case from here on. */
	offset = forget(offset, 31);
	query->udp = offset;
	query->has_edns = false;
	query->is_dnssec_ok = false;
	query->has_subnet = false;
	query->has_cookie = 0;
	query->has_good_cookie = false;
	query->subnet_source = 0;
	query->removed = 0;
	query->is_ipv6 = type == bpf_htons(ETHERTYPE_IPV6);
	if (query->is_ipv6)
		outcome = read_ipv6(query, settings, data + offset, end);
	else if (type == bpf_htons(ETHERTYPE_IPV4))
		outcome = read_ipv4(query, settings, data + offset, end);
	else
		return DNS_NOT_OURS;
	if (outcome != DNS_ANSWERED)
		return outcome;
	/* To many at once: not for us alone. */
	if (*(__u8 *)data & 1)
		return DNS_UP_PACKET;
	query->frame = frame_bytes(data, end);
	if (query->length < UDP_BYTES + MIN_MESSAGE_BYTES || query->length > UDP_BYTES + MAX_MESSAGE_BYTES ||
	    query->udp + query->length > query->frame)
		return DNS_UP_MESSAGE;
	query->length -= UDP_BYTES;
	return DNS_ANSWERED;
}

#endif
