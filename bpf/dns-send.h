/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The query becomes the answer: turned around, its section and OPT written behind the question, sums mended.
 */
#ifndef PORTICO_DNS_SEND_H
#define PORTICO_DNS_SEND_H

#include "dns-edns.h"

#define ANSWER_LINES 20 /* of MAX_UDP_ANSWER bytes */
#define COUNT_SHIFT_ANSWERS 24
#define COUNT_SHIFT_AUTHORITIES 40
#define COUNT_SHIFT_ADDITIONALS 56

static __always_inline __u32 opt_bytes(const struct query *query)
{
	__u32 bytes = OPT_BYTES;

	if (!query->has_edns)
		return 0;
	if (query->has_subnet)
		bytes += OPTION_BYTES + 4 + ((query->subnet_source + 7) >> 3);
	if (query->has_cookie)
		bytes += OPTION_BYTES + COOKIE_BYTES;
	return bytes;
}

/* What is to be sent, and its parts. */
struct reply {
	__u32 length;  /* of the message */
	__u32 section; /* of the ready-made section */
	__u32 opt;     /* of OPT */
	__u32 sum;     /* folded, of all that is added, minus what is removed */
};

static __always_inline void swap_ethernet(void *data)
{
	__u32 to = *(__u32 *)data;
	__u16 to_rest = *(__u16 *)(data + 4);

	*(__u32 *)data = *(__u32 *)(data + 6);
	*(__u16 *)(data + 4) = *(__u16 *)(data + 10);
	*(__u32 *)(data + 6) = to;
	*(__u16 *)(data + 10) = to_rest;
}

static __always_inline void turn_ipv4(struct ipv4 *ip, __u32 length)
{
	__be32 source = ip->source, destination = ip->destination;
	__be16 total = bpf_htons(IPV4_BYTES + UDP_BYTES + length);

	ip->version_ihl = 0x45;
	ip->tos = 0;
	ip->total_length = total;
	ip->id = 0;
	ip->fragment = bpf_htons(IPV4_DF); /* RFC 6864: so the ID says nothing */
	ip->ttl = OUTER_TTL;
	ip->protocol = PROTOCOL_UDP;
	ip->checksum = ~fold((__u64)source + destination + bpf_htons(0x4500) + total + bpf_htons(IPV4_DF) +
			     bpf_htons(OUTER_TTL << 8 | PROTOCOL_UDP));
	ip->source = destination;
	ip->destination = source;
}

static __always_inline void turn_ipv6(struct ipv6 *ip, __u32 length)
{
	__u64 *addresses = (__u64 *)ip->source;
	__u64 first = addresses[0], second = addresses[1];

	ip->version_class_label = bpf_htonl(0x60000000);
	ip->payload_length = bpf_htons(UDP_BYTES + length);
	ip->hop_limit = OUTER_TTL;
	addresses[0] = addresses[2];
	addresses[1] = addresses[3];
	addresses[2] = first;
	addresses[3] = second;
}

static __always_inline bool turn_ip(struct xdp_md *ctx, const struct query *query, __u32 length)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *ip;

	if (query->is_ipv6) {
		ip = PLACE(data, (query->udp - IPV6_BYTES), 31);
		if (ip + IPV6_BYTES > end)
			return false;
		turn_ipv6(ip, length);
	} else {
		ip = PLACE(data, (query->udp - IPV4_BYTES), 31);
		if (ip + IPV4_BYTES > end)
			return false;
		turn_ipv4(ip, length);
	}
	return true;
}

/* The bytes of a row to the frame's offset `at`. */
static __always_inline bool copy_section(struct xdp_md *ctx, __u32 at, const struct dns_row *row)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	__u32 left = row->length, index = row->line;

	for (int i = 0; i < ANSWER_LINES; i++, index++) {
		struct dns_line *line = bpf_map_lookup_elem(&dns_lines, &index);

		if (!line)
			return false;
		for (int j = 0; j < DNS_LINE_BYTES / 8; j++) {
			void *to = PLACE(data, at, 2047);
			const __u8 *from = &line->bytes[j * 8];

			if (left >= 8) {
				if (to + 8 > end)
					return false;
				*(__u64 *)to = *(__u64 *)from;
				at += 8;
				left -= 8;
				continue;
			}
			if (left & 4) {
				if (to + 4 > end)
					return false;
				*(__u32 *)to = *(__u32 *)from;
				to += 4;
				from += 4;
			}
			if (left & 2) {
				if (to + 2 > end)
					return false;
				*(__u16 *)to = *(__u16 *)from;
				to += 2;
				from += 2;
			}
			if (left & 1) {
				if (to + 1 > end)
					return false;
				*(__u8 *)to = *from;
			}
			return true;
		}
	}
	return left == 0;
}

/* The first `bytes` (at most eight) of a word. */
static __always_inline bool write_word(void *to, void *end, __u64 word, __u32 bytes)
{
	if (bytes >= 8) {
		if (to + 8 > end)
			return false;
		*(__u64 *)to = word;
		return true;
	}
	if (bytes & 4) {
		if (to + 4 > end)
			return false;
		*(__u32 *)to = word;
		to += 4;
		word >>= 32;
	}
	if (bytes & 2) {
		if (to + 2 > end)
			return false;
		*(__u16 *)to = word;
		to += 2;
		word >>= 16;
	}
	if (bytes & 1) {
		if (to + 1 > end)
			return false;
		*(__u8 *)to = word;
	}
	return true;
}

/* Code and length of the option, family, source and scope: as they lie on the wire, in two words. */
static __always_inline __u32 subnet_head(__u32 bytes)
{
	return bpf_htons(OPTION_SUBNET) | (__u32)bpf_htons(4 + bytes) << 16;
}

static __always_inline __u32 subnet_lengths(const struct query *query)
{
	return query->subnet_family | (__u32)query->subnet_source << 16 | (__u32)query->scope << 24;
}

/* To the frame's offset `at`. */
static __always_inline bool write_subnet(struct xdp_md *ctx, const struct query *query, __u32 at, __u32 bytes)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *to = PLACE(data, at, 2047);

	if (to + 8 > end)
		return false;
	*(__u32 *)to = subnet_head(bytes);
	*(__u32 *)(to + 4) = subnet_lengths(query);
	if (!write_word(to + 8, end, query->subnet[0], bytes))
		return false;
	return bytes <= 8 || write_word(to + 16, end, query->subnet[1], bytes - 8);
}

static __always_inline __u32 cookie_head(void)
{
	return bpf_htons(OPTION_COOKIE) | (__u32)bpf_htons(COOKIE_BYTES) << 16;
}

static __always_inline bool write_cookie(struct xdp_md *ctx, const struct query *query, __u32 at)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *to = PLACE(data, at, 2047);

	if (to + OPTION_BYTES + COOKIE_BYTES > end)
		return false;
	*(__u32 *)to = cookie_head();
	*(__u64 *)(to + 4) = query->cookie[0];
	*(__u64 *)(to + 12) = query->cookie[1];
	*(__u64 *)(to + 20) = query->cookie[2];
	return true;
}

/* Sum of OPT, of which every field stands at an odd offset from its first byte: as if they stood at even
 * ones. */
static __always_inline __u32 sum_opt(const struct query *query, __u32 options)
{
	__u32 bytes = (query->subnet_source + 7) >> 3;
	__u64 sum = bpf_htons(TYPE_OPT) + bpf_htons(MAX_UDP_ANSWER) + bpf_htons(query->is_dnssec_ok << 15) +
		    bpf_htons(options);
	__u64 cookie;

	if (query->has_subnet)
		sum += (__u64)subnet_head(bytes) + subnet_lengths(query) + sum_word(query->subnet[0]) +
		       sum_word(query->subnet[1]);
	if (!query->has_cookie)
		return fold(sum);
	cookie = cookie_head() + sum_word(query->cookie[0]) + sum_word(query->cookie[1]) +
		 sum_word(query->cookie[2]);
	return fold(sum + shift_sum(fold(cookie), query->has_subnet && bytes & 1));
}

static __always_inline bool write_opt(struct xdp_md *ctx, const struct query *query, __u32 at, __u32 options)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *to = PLACE(data, at, 2047);

	if (to + OPT_BYTES > end)
		return false;
	*(__u8 *)to = 0;
	*(__be16 *)(to + 1) = bpf_htons(TYPE_OPT);
	*(__be16 *)(to + 3) = bpf_htons(MAX_UDP_ANSWER);
	*(__u16 *)(to + 5) = 0;
	*(__be16 *)(to + 7) = bpf_htons(query->is_dnssec_ok << 15);
	*(__be16 *)(to + 9) = bpf_htons(options);
	at += OPT_BYTES;
	if (query->has_subnet) {
		__u32 bytes = (query->subnet_source + 7) >> 3;

		if (!write_subnet(ctx, query, at, bytes))
			return false;
		at += OPTION_BYTES + 4 + bytes;
	}
	return !query->has_cookie || write_cookie(ctx, query, at);
}

/* Sum of the UDP datagram at `udp`, of a length that is at least eight. Rare: a function that is judged once.
 */
__noinline __u32 sum_datagram(struct xdp_md *ctx, __u32 udp, __u32 length)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *first = PLACE(data, udp, 63);
	__u64 sum = 0;
	__u32 left;
	void *last;

	for (__u32 i = 0; i < (MAX_UDP_ANSWER + UDP_BYTES) / 8; i++) {
		void *from = first + i * 8;

		if (i * 8 + 8 > length)
			break;
		if (from + 8 > end)
			return 0;
		sum += sum_word(*(__u64 *)from);
	}
	left = length & 7;
	if (left) {
		last = PLACE(data, (udp + length - 8), 2047);
		if (last + 8 > end)
			return 0;
		sum += sum_word(*(__u64 *)last >> (64 - left * 8));
	}
	return fold(sum);
}

/* DNS_UP_FAILED: nothing was changed. */
static __always_inline enum dns_outcome send_reply(struct xdp_md *ctx, struct query *query,
						   const struct dns_row *row, const struct reply *reply)
{
	__u32 at = query->udp + UDP_BYTES + query->question;
	__u32 flags, old_check, added;
	__u64 counts, sum;
	void *data, *end;
	struct udp *udp;
	__u16 length = bpf_htons(UDP_BYTES + reply->length);

	if (bpf_xdp_adjust_tail(ctx, (int)(query->udp + UDP_BYTES + reply->length) - (int)query->frame))
		return DNS_UP_FAILED;
	data = frame_begin(ctx);
	end = frame_end(ctx);
	udp = PLACE(data, query->udp, 63);
	if ((void *)udp + UDP_BYTES + HEADER_BYTES > end || data + ETHERNET_BYTES > end)
		return DNS_BROKEN;
	counts = 0x0100ULL | (__u64)row->answers << COUNT_SHIFT_ANSWERS |
		 (__u64)row->authorities << COUNT_SHIFT_AUTHORITIES |
		 (__u64)query->has_edns << COUNT_SHIFT_ADDITIONALS;
	/* Response, authoritative; RD as it was. */
	flags = *(__u16 *)((void *)udp + UDP_BYTES + 2);
	sum = reply->sum;
	sum += sum_word(counts) + sum_word(~*(__u64 *)((void *)udp + UDP_BYTES + 4)) + (flags ^ 0xffff);
	flags = 0x0084 | (flags & 1);
	sum += flags;
	*(__u16 *)((void *)udp + UDP_BYTES + 2) = flags;
	*(__u64 *)((void *)udp + UDP_BYTES + 4) = counts;
	/* The length stands in the pseudo-header too. */
	sum += 2 * (__u64)(udp->length ^ 0xffff) + 2 * length;
	old_check = udp->checksum;
	*(__u32 *)&udp->ports = *(__u32 *)&udp->ports << 16 | *(__u32 *)&udp->ports >> 16;
	added = udp->length;
	udp->length = length;
	swap_ethernet(data);
	if (!copy_section(ctx, at, row) ||
	    (query->has_edns && !write_opt(ctx, query, at + reply->section, reply->opt - OPT_BYTES)))
		return DNS_BROKEN;
	if (old_check == 0 || old_check == query->partial) {
		/* None, or one that the device was to finish: ours is made anew. */
		udp->checksum = 0;
		sum = query->partial + (added ^ 0xffff) + length +
		      sum_datagram(ctx, query->udp, UDP_BYTES + reply->length);
	} else {
		/* One that was wrong stays wrong: who reads the answer learns that the query was damaged. */
		sum += old_check ^ 0xffff;
	}
	flags = fold(sum) ^ 0xffff;
	udp->checksum = flags ? flags : 0xffff;
	return turn_ip(ctx, query, reply->length) ? DNS_ANSWERED : DNS_BROKEN;
}

#endif
