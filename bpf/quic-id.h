/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What balancer and agent read of a QUIC packet: whether it may open a connection, and the server ID in its
 * connection ID. */
#ifndef PORTICO_QUIC_ID_H
#define PORTICO_QUIC_ID_H

#include "parse.h"

#define QUIC_VERSION_1 1          /* RFC 9000 */
#define QUIC_VERSION_2 0x6b3343cf /* RFC 9369 */
#define QUIC_LONG_ID 6            /* where the ID begins in a long header, behind its length */

/* As much of a QUIC packet as reaches to the end of the longest server ID; every real one is longer. In
 * words, as the stack must be read. */
struct quic {
	struct udp udp;
	__be64 begin;
	__be64 end;
};

/* What a packet is: flags as in packet->tcp_flags, and these. The lower 16 bits are the balancer's. */
#define QUIC_FLAGS_SHIFT 24
#define QUIC_HAS_ID (1 << 17)
#define QUIC_EARLY_SHIFT 16 /* an ID that the client may have made up */

/* Initial and 0-RTT are types 0 and 1, in version 2 types 1 and 2. */
static __always_inline __u32 read_quic_type(__u64 begin)
{
	__u32 version = begin >> 24;
	__u32 type = begin >> 60 & 3;

	if (version == QUIC_VERSION_2)
		type = (type - 1) & 3;
	else if (version != QUIC_VERSION_1)
		return TCP_ACK << QUIC_FLAGS_SHIFT;
	if (type == 0)
		return TCP_SYN << QUIC_FLAGS_SHIFT | 1 << QUIC_EARLY_SHIFT;
	return TCP_ACK << QUIC_FLAGS_SHIFT | (type == 1) << QUIC_EARLY_SHIFT;
}

/*
 * `begin` and `end`: the first 16 bytes behind the UDP header; `length`: of the datagram; `format`:
 * configuration and bytes of the server ID << 8. `id` is filled with QUIC_HAS_ID alone.
 */
static __always_inline __u32 read_quic_id(__u64 begin, __u64 end, __u32 length, __u32 format, __u64 *id)
{
	__u32 answer = TCP_ACK << QUIC_FLAGS_SHIFT;
	__u32 id_bytes = format >> 8;
	__u32 first;

	if (begin >> 63) { /* a long header: version, length of the ID, ID */
		__u32 id_length = begin >> 16 & 0xff;

		if (UDP_BYTES + QUIC_LONG_ID + id_length > length)
			return answer;
		answer = read_quic_type(begin);
		if (id_length <= id_bytes)
			return answer;
		first = begin >> 8 & 0xff;
		*id = begin << 56 | end >> 8;
	} else { /* a short one: the ID follows at once; its length is known to the server alone */
		first = begin >> 48 & 0xff;
		*id = begin << 16 | end >> 48;
	}
	if (first >> 5 != (format & 0xff))
		return answer;
	*id >>= (64 - 8 * id_bytes) & 63;
	return answer | QUIC_HAS_ID;
}

/* The beginning of a UDP datagram, in place or copied; NULL: too short to be QUIC. */
static __always_inline struct quic *quic_begin(const struct packet *packet, struct quic *copy)
{
	struct quic *quic;

	if (packet->ip_length - packet->transport < sizeof(*copy))
		return NULL;
	quic = transport_header(packet, copy, sizeof(*copy));
	return quic && bpf_ntohs(quic->udp.length) >= sizeof(*copy) ? quic : NULL;
}

#endif
