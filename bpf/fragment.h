/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* A fragment: what its headers say, and where the first one of its datagram went. */
#ifndef PORTICO_FRAGMENT_H
#define PORTICO_FRAGMENT_H

#include "clock.h"
#include "maps.h"
#include "parse.h"
#include "prefix.h"
#include "siphash.h"

struct fragment {
	__u32 id;       /* as it lies on the wire */
	__u32 protocol; /* 0 for IPv6, where only the first fragment's counts (RFC 8200, 4.5) */
	bool is_first;
	__u64 datagram;
	__u32 bucket;
	__u32 check;
};

/*
 * `offset` of its data in the datagram's, `bytes` of data. A fragment that others follow has a multiple of 8
 * (RFC 791; RFC 8200, 4.5); none may reach beyond what the length field of the whole can say. Overlaps are
 * not looked for: every fragment of a datagram goes to one backend, whose kernel drops such (RFC 5722).
 */
static __always_inline bool are_lengths_sound(__u32 offset, __u32 bytes, __u32 header_bytes, bool has_more)
{
	if (!bytes || (has_more && bytes % 8))
		return false;
	return offset + bytes + header_bytes <= 0xffff;
}

static __always_inline enum parsed read_fragment_ipv4(struct packet *packet, struct fragment *fragment)
{
	struct ipv4 *ip = packet->ip;
	__u32 word, header_bytes;

	if ((void *)(ip + 1) > packet_end(packet))
		return PARSED_MALFORMED;
	header_bytes = (ip->version_ihl & 0xf) * 4;
	if (packet->ip_length < header_bytes)
		return PARSED_MALFORMED;
	word = bpf_ntohs(ip->fragment);
	packet->protocol = ip->protocol;
	packet->hops = ip->ttl;
	packet->is_plain = header_bytes == IPV4_BYTES;
	packet->transport = header_bytes;
	fragment->id = ip->id;
	fragment->protocol = ip->protocol;
	fragment->is_first = !(word & IPV4_OFFSET_MASK);
	if (!(word & IPV4_FRAGMENT_MASK))
		return PARSED_OK;
	return are_lengths_sound((word & IPV4_OFFSET_MASK) * 8, packet->ip_length - header_bytes,
				 header_bytes, word & IPV4_MORE)
		   ? PARSED_FRAGMENT
		   : PARSED_MALFORMED;
}

static __always_inline enum parsed read_fragment_ipv6(struct packet *packet, struct fragment *fragment)
{
	enum parsed parsed = parse_ipv6(packet);
	__u32 words[2], offset;

	if (parsed != PARSED_FRAGMENT)
		return parsed;
	if (bpf_xdp_load_bytes(packet->ctx, packet->ip_offset + packet->transport, words, sizeof(words)))
		return PARSED_MALFORMED;
	packet->protocol = words[0];
	offset = bpf_ntohl(words[0]) & 0xfff8;
	packet->transport += sizeof(words);
	fragment->id = words[1];
	fragment->is_first = !offset;
	if (!are_lengths_sound(offset, packet->ip_length - packet->transport, 0, bpf_ntohl(words[0]) & 1))
		return PARSED_MALFORMED;
	/* RFC 7112: the first fragment has all headers. */
	if (fragment->is_first && is_extension(packet->protocol) && walk_extensions(packet) != PARSED_OK)
		return PARSED_MALFORMED;
	return PARSED_FRAGMENT;
}

/* PARSED_OK: it is none. Gives protocol and transport header of a first one, its length checked. */
static __always_inline enum parsed read_fragment(struct packet *packet, struct fragment *fragment)
{
	return packet->is_ipv6 ? read_fragment_ipv6(packet, fragment) : read_fragment_ipv4(packet, fragment);
}

/* Of a first fragment: without the header of its transport there are no ports. */
static __always_inline enum parsed read_first_ports(struct packet *packet)
{
	struct udp copy, *udp;

	if (packet->protocol == PROTOCOL_TCP)
		return parse_tcp(packet);
	if (packet->protocol != PROTOCOL_UDP)
		return PARSED_OK;
	if (packet->ip_length - packet->transport < UDP_BYTES)
		return PARSED_MALFORMED;
	udp = transport_header(packet, &copy, sizeof(copy));
	if (!udp || bpf_ntohs(udp->length) < UDP_BYTES)
		return PARSED_MALFORMED;
	packet->ports = *(__u32 *)&udp->ports;
	return PARSED_OK;
}

/*
 * A keyed hash of the addresses and what follows them, `last`, whose upper byte is its length: the first
 * half; the second is left in `second`. `ip_offset`: of the IP header. A global function, for the verifier.
 */
__attribute__((noinline)) __u64 hash_addresses(struct xdp_md *ctx, const struct settings *all,
					       __u32 ip_offset, __u64 last, __u64 *second)
{
	struct packet packet = {.ctx = ctx, .ip = (void *)(long)ctx->data + (ip_offset & 31)};
	__u64 *words = packet.ip, first;
	struct siphash state;

	if (!all || !second || packet.ip + IPV4_BYTES > packet_end(&packet))
		return 0;
	sip_start(&state, all->key);
	if (*(__u8 *)packet.ip >> 4 == 6) {
		if (packet.ip + IPV6_BYTES > packet_end(&packet))
			return 0;
		sip_word(&state, words[1]);
		sip_word(&state, words[2]);
		sip_word(&state, words[3]);
		sip_word(&state, words[4]);
		sip_word(&state, last + (32ULL << 56));
	} else {
		sip_word(&state, *(__u64 *)(packet.ip + 12));
		sip_word(&state, last + (8ULL << 56));
	}
	first = sip_first_half(&state);
	*second = sip_second_half(&state);
	return first;
}

/* Names the datagram, and says where it is remembered: clients of a prefix share a region, so that a flood
 * from one pushes out nobody else's. */
static __always_inline void name_datagram(const struct packet *packet, const struct settings *all,
					  struct fragment *fragment)
{
	__u64 last = fragment->id | (__u64)fragment->protocol << 32 | 5ULL << 56;
	__u64 first = hash_addresses(packet->ctx, all, packet->ip_offset, last, &fragment->datagram);

	fragment->check = first >> 32 & FRAGMENT_CHECK_MASK;
	fragment->bucket = prefix_region(hash_prefix(packet, all)) * FRAGMENT_REGION_BUCKETS +
			   (first & (FRAGMENT_REGION_BUCKETS - 1));
}

static __always_inline __u32 home_age(__u64 home, __u64 clock)
{
	return ((__u32)(clock >> FINE_SHIFT) - (__u32)(home >> FRAGMENT_AGE_SHIFT)) & FRAGMENT_AGE_MASK;
}

/* 0: nothing is known of the datagram. Two words are read one after the other; `check` tells if they do not
 * belong together. */
static __always_inline __u64 find_home(const struct fragment *fragment, __u64 clock)
{
	struct fragment_bucket *bucket = bpf_map_lookup_elem(&fragments, &fragment->bucket);

	if (!bucket)
		return 0;
#pragma unroll
	for (int i = 0; i < FRAGMENT_ENTRIES; i++) {
		__u64 home;

		if (*(volatile __u64 *)&bucket->datagram[i] != fragment->datagram)
			continue;
		home = *(volatile __u64 *)&bucket->home[i];
		if (home & FRAGMENT_KNOWN && home >> FRAGMENT_CHECK_SHIFT == fragment->check &&
		    home_age(home, clock) <= FRAGMENT_LIFETIME)
			return home;
	}
	return 0;
}

/* In place of what is known of the datagram, else in an empty place, else in the oldest. A global function,
 * for the verifier. */
__attribute__((noinline)) int remember_home(const struct fragment *fragment, __u32 backend, __u32 port,
					    bool is_tcp, __u64 clock)
{
	__u32 best = 0, best_age = 0, index;
	struct fragment_bucket *bucket;

	if (!fragment)
		return 0;
	index = fragment->bucket; /* as in insert_flow */
	bucket = bpf_map_lookup_elem(&fragments, &index);
	if (!bucket)
		return 0;
		/* Ages are below the mask; an empty place is older than all, the own one older still. */
#pragma unroll
	for (int i = 0; i < FRAGMENT_ENTRIES; i++) {
		__u64 home = *(volatile __u64 *)&bucket->home[i];
		__u32 age = home & FRAGMENT_KNOWN ? home_age(home, clock) + 1 : FRAGMENT_AGE_MASK + 2;

		if (home & FRAGMENT_KNOWN && bucket->datagram[i] == fragment->datagram)
			age = FRAGMENT_AGE_MASK + 3;
		if (age > best_age) {
			best = i;
			best_age = age;
		}
	}
	best &= FRAGMENT_ENTRIES - 1;
	*(volatile __u64 *)&bucket->home[best] =
	    backend | FRAGMENT_KNOWN | (is_tcp ? FRAGMENT_TCP : 0) | (__u64)port << FRAGMENT_PORT_SHIFT |
	    (clock >> FINE_SHIFT & FRAGMENT_AGE_MASK) << FRAGMENT_AGE_SHIFT |
	    (__u64)fragment->check << FRAGMENT_CHECK_SHIFT;
	*(volatile __u64 *)&bucket->datagram[best] = fragment->datagram;
	return 0;
}

#endif
