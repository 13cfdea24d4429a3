/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * ICMP errors that the balancer itself sends: the packet does not fit (RFC 1191, RFC 4443 3.2), its TTL or
 * hop limit was used up, its service has no backend. They come from the VIP, which the client knows, and go
 * back by the way that the packet came. A program of its own writes them: few packets need it.
 */
#ifndef PORTICO_ANSWER_H
#define PORTICO_ANSWER_H

#include "count.h"
#include "icmp.h"
#include "maps.h"
#include "parse.h"
#include "prefixes.h"

/*
 * Bytes quoted of what follows the IPv4 header. At least 8 (RFC 792), up to 576 in all are allowed (RFC 1812,
 * 4.3.2.3), and each costs time. 32 are a TCP header with time stamps, or UDP and the header of a QUIC packet
 * with a connection ID of any length, by which a client that is careful knows its own (RFC 9000, 14.2.1).
 */
#define QUOTED_TRANSPORT_BYTES 32
/* The commonest: a header without options. */
#define QUOTED_PLAIN_BYTES (IPV4_BYTES + QUOTED_TRANSPORT_BYTES)
/* RFC 4443, 2.4 c: as much as fits into what every path carries. */
#define QUOTED_IPV6_BYTES (1280 - IPV6_BYTES - ICMP_BYTES)
/* Bits of any quote's length; a mask tells the verifier so. */
#define QUOTE_MASK 2047
/* bpf_csum_diff takes no more at a time on kernels before 6.13. */
#define SUM_BYTES 512

/* Precedence of internetwork control: RFC 1812, 4.3.2.5. */
#define ANSWER_TOS 0xc0

/* From the program that met the packet to the one that answers it. */
struct answer {
	__u32 outcome; /* enum outcome: says which answer */
	__u32 subject;
	__u32 events;
	__u32 lost_swaps;
	__u32 limit;
	__u32 tcp_flags;
	__u32 quoted; /* bytes of the packet */
	__u32 zero;
	__u8 quote[QUOTE_MASK + 1]; /* where sums over what does not lie in one piece are made */
	__u8 more[8]; /* kernel 6.1 forgets that a length was cut, and thinks of its rounding up */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct answer);
} answers SEC(".maps");

static __always_inline struct answer *find_answer(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&answers, &only);
}

/* Type and code as they lie on the wire. */
static __always_inline __u32 type_and_code(__u8 type, __u8 code)
{
	return type | code << 8;
}

/*
 * A service without a backend is told as a port that nobody listens on: of the codes of "unreachable" it is
 * the one that makes clients give up at once and try the next address (RFC 1122, 4.2.3.9), and it says
 * nothing of other services of the VIP; connections that are open survive it, should a backend come back.
 */
static __always_inline __u32 notice_of(enum outcome outcome, bool is_ipv6)
{
	if (outcome == OUTCOME_TOO_BIG)
		return is_ipv6 ? type_and_code(2, 0) : type_and_code(3, 4);
	if (outcome == OUTCOME_TTL_EXPIRED)
		return is_ipv6 ? type_and_code(3, 0) : type_and_code(11, 0);
	return is_ipv6 ? type_and_code(1, 4) : type_and_code(3, 3);
}

/*
 * What must not be answered by an ICMP error: frames to many, sources that are no single host, fragments
 * other than the first (RFC 1122, 3.2.2; RFC 4443, 2.4 e). ICMP errors do not get here.
 */
static __always_inline bool must_stay_silent(const struct packet *packet)
{
	struct ipv4 *ipv4 = packet->ip;
	struct ipv6 *ipv6 = packet->ip;
	__u8 first;

	if (packet->frame + 1 > packet_end(packet) || *(__u8 *)packet->frame & 1)
		return true;
	if (packet->is_ipv6) {
		if ((void *)(ipv6 + 1) > packet_end(packet))
			return true;
		return *(__u8 *)ipv6->source == 0xff ||
		       !(ipv6->source[0] | ipv6->source[1] | ipv6->source[2]);
	}
	if ((void *)(ipv4 + 1) > packet_end(packet))
		return true;
	first = *(__u8 *)&ipv4->source;
	return first == 0 || first == 127 || first >= 224 || ipv4->fragment & bpf_htons(IPV4_OFFSET_MASK);
}

/* Ones' complement sums here are of words as they lie in memory (RFC 1071, 2 B), not folded. */
static __always_inline __u16 fold_sum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline __u64 sum_words(const void *words, __u32 count)
{
	__u64 sum = 0;

#pragma unroll
	for (__u32 i = 0; i < count; i++)
		sum += ((const __u32 *)words)[i];
	return sum;
}

/* The sum of the first `bytes` of the IP packet, from a copy; 0, which no IP packet has: not possible. */
static __always_inline __u64 sum_copied(const struct packet *packet, struct answer *answer, __u32 bytes)
{
	__u32 padded;
	__u64 sum = 0;

	/* Through memory: what kernel 6.1 believes to know of the number on ways that cannot be contradicts
	 * itself. */
	answer->quoted = bytes;
	bytes = *(volatile __u32 *)&answer->quoted & QUOTE_MASK;
	padded = (bytes + 3) & ~3;
	*(__u32 *)(answer->quote + ((padded - 4) & QUOTE_MASK & ~3)) = 0;
	if (bytes < IPV4_BYTES || bpf_xdp_load_bytes(packet->ctx, packet->ip_offset, answer->quote, bytes))
		return 0;
#pragma unroll
	for (__u32 from = 0; from < QUOTED_IPV6_BYTES; from += SUM_BYTES) {
		__u32 rest = padded - from;

		if (padded <= from)
			break;
		if (rest > SUM_BYTES)
			rest = SUM_BYTES;
		sum += (__u32)bpf_csum_diff(NULL, 0, (void *)(answer->quote + from), rest, 0);
	}
	return sum;
}

/*
 * Cuts the frame after the quote, wherever its bytes lie, and makes room before it. The tail of a frame of
 * several buffers can be cut by any length, whole buffers at once; what can hardly be is room at its end.
 */
static __always_inline bool shape_frame(const struct packet *packet, __u32 quote_bytes, __u32 header_bytes)
{
	int excess = bpf_xdp_get_buff_len(packet->ctx) - packet->ip_offset - quote_bytes;

	return (excess == 0 || !bpf_xdp_adjust_tail(packet->ctx, -excess)) &&
	       !bpf_xdp_adjust_head(packet->ctx, -(int)header_bytes);
}

/* What is kept of the link's header while the head moves. */
struct link {
	__u32 words[3]; /* MAC addresses */
};

static __always_inline void read_link(const struct packet *packet, struct link *link)
{
	if (packet->frame + ETHERNET_BYTES <= packet_end(packet))
		copy_bytes_12(link->words, packet->frame);
}

/* Back to where the frame came from. False: the frame is too short, which cannot be. */
static __always_inline bool write_link(const struct packet *packet, const struct link *link)
{
	void *data = (void *)(long)packet->ctx->data;

	if (data + packet->ip_offset + IPV4_BYTES > packet_end(packet) || packet->ip_offset < ETHERNET_BYTES)
		return false;
	copy_bytes_12(data, link->words);
	swap_macs(data);
	if (packet->ip_offset > ETHERNET_BYTES)
		*(__u32 *)(data + ETHERNET_BYTES - 2) = packet->tags[0];
	if (packet->ip_offset > ETHERNET_BYTES + VLAN_TAG_BYTES)
		*(__u32 *)(data + ETHERNET_BYTES + VLAN_TAG_BYTES - 2) = packet->tags[1];
	*(__be16 *)(data + packet->ip_offset - 2) =
	    packet->is_ipv6 ? bpf_htons(ETHERTYPE_IPV6) : bpf_htons(ETHERTYPE_IPV4);
	return true;
}

static __always_inline bool answer_by_ipv4(const struct packet *packet, struct answer *answer)
{
	struct ipv4 *ip = packet->ip;
	__be32 source, destination, rest = bpf_htonl(answer->outcome == OUTCOME_TOO_BIG ? answer->limit : 0);
	__u32 first = notice_of(answer->outcome, false);
	__u32 quote_bytes, length;
	struct link link = {};
	__be32 *words;
	__u64 sum;

	if ((void *)(ip + 1) > packet_end(packet))
		return false;
	source = ip->source;
	destination = ip->destination;
	quote_bytes = (ip->version_ihl & 0xf) * 4 + QUOTED_TRANSPORT_BYTES;
	if (quote_bytes > packet->ip_length)
		quote_bytes = packet->ip_length;
	read_link(packet, &link);
	if (quote_bytes == QUOTED_PLAIN_BYTES && packet->ip + QUOTED_PLAIN_BYTES <= packet_end(packet))
		sum = sum_words(ip, QUOTED_PLAIN_BYTES / 4);
	else
		sum = sum_copied(packet, answer, quote_bytes);
	if (!sum || !shape_frame(packet, quote_bytes, IPV4_BYTES + ICMP_BYTES) || !write_link(packet, &link))
		return false;
	words = (void *)(long)packet->ctx->data + packet->ip_offset;
	if ((void *)(words + (IPV4_BYTES + ICMP_BYTES) / 4) > packet_end(packet))
		return false;
	length = IPV4_BYTES + ICMP_BYTES + quote_bytes;
	words[0] = bpf_htonl(0x45000000 | ANSWER_TOS << 16 | length);
	words[1] = bpf_htonl(IPV4_DF);
	words[2] = bpf_htonl(OUTER_TTL << 24 | PROTOCOL_ICMP << 16);
	words[3] = destination;
	words[4] = source;
	words[2] |= (__u32)(__u16)~fold_sum(sum_words(words, IPV4_BYTES / 4)) << 16;
	words[5] = first | (__u32)(__u16)~fold_sum(sum + first + rest) << 16;
	words[6] = rest;
	return true;
}

static __always_inline bool answer_by_ipv6(const struct packet *packet, struct answer *answer)
{
	struct ipv6 *ip = packet->ip;
	__be32 rest = bpf_htonl(answer->outcome == OUTCOME_TOO_BIG ? answer->limit : 0);
	__u32 first = notice_of(answer->outcome, true);
	__be32 addresses[8]; /* destination, then source, of the packet in hand */
	__u32 quote_bytes, length;
	struct link link = {};
	__be32 *words;
	__u64 sum;

	if ((void *)(ip + 1) > packet_end(packet))
		return false;
	copy_bytes_16(addresses, ip->destination);
	copy_bytes_16(addresses + 4, ip->source);
	quote_bytes = packet->ip_length < QUOTED_IPV6_BYTES ? packet->ip_length : QUOTED_IPV6_BYTES;
	read_link(packet, &link);
	sum = sum_copied(packet, answer, quote_bytes);
	if (!sum || !shape_frame(packet, quote_bytes, IPV6_BYTES + ICMP_BYTES) || !write_link(packet, &link))
		return false;
	words = (void *)(long)packet->ctx->data + packet->ip_offset;
	if ((void *)(words + (IPV6_BYTES + ICMP_BYTES) / 4) > packet_end(packet))
		return false;
	length = ICMP_BYTES + quote_bytes;
	words[0] = bpf_htonl(0x60000000);
	words[1] = bpf_htonl(length << 16 | PROTOCOL_ICMPV6 << 8 | OUTER_TTL);
	copy_bytes_16(words + 2, addresses);
	copy_bytes_16(words + 6, addresses + 4);
	/* The pseudo header: addresses, length, next header (RFC 8200, 8.1). */
	sum += sum_words(addresses, 8) + bpf_htonl(length) + bpf_htonl(PROTOCOL_ICMPV6);
	words[10] = first | (__u32)(__u16)~fold_sum(sum + first + rest) << 16;
	words[11] = rest;
	return true;
}

/* Answers the packet that another program noted, and counts it. */
static __always_inline int answer_and_count(struct xdp_md *ctx)
{
	const struct settings *all = find_settings();
	struct answer *answer = find_answer();
	struct packet packet = {.ctx = ctx};
	int verdict = XDP_DROP;
	enum outcome outcome;

	if (!all || !answer || !parse_ip(&packet) || answer->outcome >= OUTCOME_COUNT)
		return XDP_DROP;
	packet.subject = answer->subject;
	packet.events = answer->events;
	packet.lost_swaps = answer->lost_swaps;
	packet.tcp_flags = answer->tcp_flags;
	outcome = answer->outcome;
	if (!must_stay_silent(&packet)) {
		if (!may_answer(&packet, all, answer->outcome == OUTCOME_TOO_BIG)) {
			packet.events |= 1 << EVENT_UNANSWERED;
		} else if (packet.is_ipv6 ? answer_by_ipv6(&packet, answer)
					  : answer_by_ipv4(&packet, answer)) {
			packet.events |= 1 << EVENT_ANSWERED;
			verdict = XDP_TX;
		} else {
			outcome = OUTCOME_FAILED;
		}
	}
	count(&packet, all, outcome);
	return verdict;
}

/* Another program takes the packet over and counts it; comes back only if the kernel refuses. */
static __always_inline void hand_over_answer(struct xdp_md *ctx);

/* The packet goes no further, and its sender is told. */
static __always_inline enum outcome answer_back(const struct packet *packet, enum outcome outcome)
{
	struct answer *answer;

	/* Never an error about an error. */
	if (packet->is_error)
		return outcome;
	answer = find_answer();
	if (!answer)
		return OUTCOME_FAILED;
	answer->outcome = outcome;
	answer->subject = packet->subject;
	answer->events = packet->events;
	answer->lost_swaps = packet->lost_swaps;
	answer->limit = packet->limit;
	answer->tcp_flags = packet->tcp_flags;
	hand_over_answer(packet->ctx);
	return OUTCOME_FAILED;
}

#endif
