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
#include "quic-id.h"

#define QUIC_BACKEND_MASK 0xffff /* of what find_quic answers: the live backend that is named, or 0 */

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

/* What read_quic_id says, with the backend. A global function, so that the verifier judges it once, and what
 * comes after it not for each of its ways. */
__attribute__((noinline)) __u32 find_quic(__u64 begin, __u64 end, __u32 length, __u32 subject, __u32 format)
{
	__u64 id = 0;
	__u32 answer = read_quic_id(begin, end, length, format, &id);
	__u32 backend = answer & QUIC_HAS_ID ? find_named(subject, id) : 0;

	return is_alive(backend) ? answer | (backend & QUIC_BACKEND_MASK) : answer;
}

/* Fills tcp_flags. Gives what find_quic answers, for what is no QUIC packet, too; 0: no UDP. */
static __always_inline __u32 read_quic(struct packet *packet, const struct service *service)
{
	__u32 answer = TCP_ACK << QUIC_FLAGS_SHIFT;
	struct quic copy, *quic;

	packet->is_plain = forget(packet->is_plain, 1);
	if (forget(packet->protocol, 0xff) != PROTOCOL_UDP)
		return forget(0, ~0U);
	quic = quic_begin(packet, &copy);
	if (quic)
		answer = find_quic(bpf_be64_to_cpu(quic->begin), bpf_be64_to_cpu(quic->end),
				   bpf_ntohs(quic->udp.length), service->subject,
				   service->quic_config | service->server_id_bytes << 8);
	answer = forget(answer, ~0U);
	packet->tcp_flags = answer >> QUIC_FLAGS_SHIFT;
	return answer;
}

#endif
