/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * QUIC connection IDs that name their backend: draft-ietf-quic-load-balancers-21, its unencrypted format. The
 * first octet has the number of the configuration in its upper 3 bits, then come the server ID and a nonce.
 * So a connection stays with its backend when its client's address changes.
 *
 * Only Initials open connections. They, and 0-RTT, carry an ID that the client made up, until the server's
 * first answer: it may look like one of ours and means nothing. They go by their flow; only where the set of
 * backends changes, an ID that names a candidate of the slot tells that the handshake is under way there.
 * Packets of other versions than 1 and 2, whose types are not known, go by their ID, else by flow, and never
 * count as new.
 */
#ifndef PORTICO_QUIC_H
#define PORTICO_QUIC_H

#include "maps.h"
#include "parse.h"

#define QUIC_LONG_HEADER 0x80
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

/* What find_quic answers: the live backend that is named, or 0; then these; then flags as in
 * packet->tcp_flags. */
#define QUIC_BACKEND_MASK 0xffff
#define QUIC_EARLY_SHIFT 16
#define QUIC_FLAGS_SHIFT 24

static __always_inline __u32 named_in(__u32 bucket_index, __u32 subject, __u64 id)
{
	struct server_ids *bucket = bpf_map_lookup_elem(&server_ids, &bucket_index);

	if (!bucket)
		return 0;
#pragma unroll
	for (int i = 0; i < SERVER_ID_ENTRIES; i++) {
		__u64 owner = *(volatile __u64 *)&bucket->owner[i];

		if (bucket->id[i] == id && owner >> 32 == subject)
			return (__u32)owner;
	}
	return 0;
}

/* The backend of the service with that server ID; 0: none. */
static __always_inline __u32 find_named(__u32 subject, __u64 id)
{
	__u64 mixed = (id ^ subject * 0xC2B2AE3D27D4EB4F) * 0x9E3779B97F4A7C15;
	__u32 first, second, backend;

	mixed ^= mixed >> 32;
	mixed *= 0x9E3779B97F4A7C15;
	first = mixed >> 48;
	second = mixed >> 32 & (SERVER_ID_BUCKETS - 1);
	backend = named_in(first, subject, id);
	return backend ?: named_in(second == first ? first ^ 1 : second, subject, id);
}

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
 * configuration and bytes of the server ID << 8. A global function, so that the verifier judges it once, and
 * what comes after it not for each of its ways.
 */
__attribute__((noinline)) __u32 find_quic(__u64 begin, __u64 end, __u32 length, __u32 subject, __u32 format)
{
	__u32 answer = TCP_ACK << QUIC_FLAGS_SHIFT;
	__u32 id_bytes = format >> 8;
	__u32 first, backend;
	__u64 id;

	if (begin >> 63) { /* a long header: version, length of the ID, ID */
		__u32 id_length = begin >> 16 & 0xff;

		if (UDP_BYTES + QUIC_LONG_ID + id_length > length)
			return answer;
		answer = read_quic_type(begin);
		if (id_length <= id_bytes)
			return answer;
		first = begin >> 8 & 0xff;
		id = begin << 56 | end >> 8;
	} else { /* a short one: the ID follows at once; its length is known to the server alone */
		first = begin >> 48 & 0xff;
		id = begin << 16 | end >> 48;
	}
	if (first >> 5 != (format & 0xff))
		return answer;
	backend = find_named(subject, id >> ((64 - 8 * id_bytes) & 63));
	return is_alive(backend) ? answer | (backend & QUIC_BACKEND_MASK) : answer;
}

/* Fills tcp_flags. Gives what find_quic answers, for what is no QUIC packet, too; 0: no UDP. */
static __always_inline __u32 read_quic(struct packet *packet, const struct service *service)
{
	__u32 answer = TCP_ACK << QUIC_FLAGS_SHIFT;
	struct quic copy, *quic;
	__u32 length;

	if (packet->protocol != PROTOCOL_UDP)
		return 0;
	if (packet->ip_length - packet->transport >= sizeof(copy)) {
		quic = transport_header(packet, &copy, sizeof(copy));
		length = quic ? bpf_ntohs(quic->udp.length) : 0;
		if (quic && length >= sizeof(copy))
			answer =
			    find_quic(bpf_be64_to_cpu(quic->begin), bpf_be64_to_cpu(quic->end), length,
				      service->subject, service->quic_config | service->server_id_bytes << 8);
	}
	packet->tcp_flags = answer >> QUIC_FLAGS_SHIFT;
	return answer;
}

#endif
