/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * An ICMP error passes a balancer that rewrites its flow: the packet that it quotes must look as its sender
 * sent it, or nobody can tell what it is about. Every checksum is mended, those in the quote as far as it
 * goes.
 */
#ifndef PORTICO_REWRITE_ERROR_H
#define PORTICO_REWRITE_ERROR_H

#include "quote.h"
#include "rewrite.h"

/* The 16-bit word at `offset` from the IP header becomes `to`; `sum` is that of the message, which covers it.
 */
static __always_inline bool store_16(const struct packet *packet, __u32 offset, __u16 from, __u16 to,
				     __u64 *sum)
{
	*sum += difference_16(from, to);
	return !bpf_xdp_store_bytes(packet->ctx, packet->ip_offset + offset, &to, sizeof(to));
}

static __always_inline bool load_16(const struct packet *packet, __u32 offset, __u16 *value)
{
	return !bpf_xdp_load_bytes(packet->ctx, packet->ip_offset + offset, value, sizeof(*value));
}

/* `end`: of the quoted packet. The difference that its checksums see comes back in `difference`. */
static __always_inline bool rewrite_quoted_address(const struct packet *packet, const struct quoted *quoted,
						   const struct end *end, __u64 *difference, __u64 *sum)
{
	__u32 offset =
	    quoted->offset + (packet->is_ipv6 ? (end->is_source ? 8 : 24) : (end->is_source ? 12 : 16));
	__u16 checksum;
	__u32 from[4];

	if (packet->is_ipv6) {
		if (bpf_xdp_load_bytes(packet->ctx, packet->ip_offset + offset, from, 16) ||
		    bpf_xdp_store_bytes(packet->ctx, packet->ip_offset + offset, (void *)end->address, 16))
			return false;
		*difference = difference_ipv6(from, (const __u32 *)end->address);
		*sum += *difference;
		return true;
	}
	if (bpf_xdp_load_bytes(packet->ctx, packet->ip_offset + offset, from, 4) ||
	    bpf_xdp_store_bytes(packet->ctx, packet->ip_offset + offset, (void *)end->address + 12, 4) ||
	    !load_16(packet, quoted->offset + 10, &checksum))
		return false;
	*difference = difference_32(from[0], *(const __u32 *)(end->address + 12));
	*sum += *difference;
	return store_16(packet, quoted->offset + 10, checksum, fix_checksum(checksum, *difference), sum);
}

static __always_inline bool rewrite_quoted_port(const struct packet *packet, const struct quoted *quoted,
						const struct end *end, __u64 difference, __u64 *sum)
{
	bool is_tcp = quoted->protocol == PROTOCOL_TCP;
	__u32 port_offset = quoted->transport + (end->is_source ? 0 : 2);
	__u32 checksum_offset = quoted->transport + (is_tcp ? 16 : 6);
	__u16 port, checksum;

	if (!load_16(packet, port_offset, &port) || !store_16(packet, port_offset, port, end->port, sum))
		return false;
	if (checksum_offset + sizeof(checksum) > packet->ip_length)
		return true; /* the quote ends before */
	if (!load_16(packet, checksum_offset, &checksum))
		return false;
	difference += difference_16(port, end->port);
	return store_16(packet, checksum_offset, checksum,
			is_tcp ? fix_checksum(checksum, difference) : fix_udp_checksum(checksum, difference),
			sum);
}

/*
 * An end of the quoted packet, and the other end of the error itself: who sent the quoted packet gets the
 * error. False: not in the frame.
 */
static __always_inline bool rewrite_error(const struct packet *packet, const struct quoted *quoted,
					  const struct end *end)
{
	struct end outer = {.address = end->address, .is_source = !end->is_source};
	__u64 difference, sum = 0;
	__u16 checksum;

	if (!rewrite_quoted_address(packet, quoted, end, &difference, &sum) ||
	    !rewrite_quoted_port(packet, quoted, end, difference, &sum) ||
	    !load_16(packet, packet->transport + 2, &checksum))
		return false;
	difference = rewrite_address(packet, &outer);
	if (packet->is_ipv6)
		sum += difference; /* of the pseudo header */
	checksum = fix_checksum(checksum, sum);
	return !bpf_xdp_store_bytes(packet->ctx, packet->ip_offset + packet->transport + 2, &checksum,
				    sizeof(checksum));
}

#endif
