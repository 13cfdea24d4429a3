/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The mode nat: the destination becomes the backend's address and port. What comes back is nat-reply.h's. */
#ifndef PORTICO_NAT_H
#define PORTICO_NAT_H

#include "hand-on.h"
#include "rewrite-error.h"

static __always_inline bool read_addresses(const struct packet *packet, struct address *source,
					   struct address *destination)
{
	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if ((void *)(ip + 1) > packet_end(packet))
			return false;
		copy_bytes_16(source->bytes, ip->source);
		copy_bytes_16(destination->bytes, ip->destination);
	} else {
		struct ipv4 *ip = packet->ip;

		if ((void *)(ip + 1) > packet_end(packet))
			return false;
		map_ipv4(source, ip->source);
		map_ipv4(destination, ip->destination);
	}
	return true;
}

/* So that replies of this flow find the VIP that it came to. Before the packet changes. `port`: of the
 * backend. */
static __always_inline void remember_tuple(const struct packet *packet, const struct backend *backend,
					   __be16 port)
{
	struct nat_reply reply = {.subject = packet->subject, .port = packet->ports >> 16};
	struct nat_tuple tuple = {};
	struct nat_reply *known;

	copy_bytes_16(tuple.address, backend->address);
	tuple.port = port;
	tuple.protocol = packet->protocol;
	tuple.client_port = packet->ports;
	if (!read_addresses(packet, (void *)tuple.client, (void *)reply.address))
		return;
	known = bpf_map_lookup_elem(&nat_tuples, &tuple);
	if (!known || known->port != reply.port || known->subject != reply.subject ||
	    ((__u64 *)known->address)[0] != ((__u64 *)reply.address)[0] ||
	    ((__u64 *)known->address)[1] != ((__u64 *)reply.address)[1])
		bpf_map_update_elem(&nat_tuples, &tuple, &reply, BPF_ANY);
}

/* False: not possible. */
static __always_inline bool rewrite_to_backend(const struct packet *packet, const struct parcel *parcel,
					       const struct backend *backend)
{
	struct end end = {.address = backend->address};
	struct quoted quoted = {};

	if (packet->is_ipv6 != !!(backend->flags & BACKEND_IPV6))
		return false;
	if (packet->is_later) {
		rewrite_address(packet, &end);
		return true;
	}
	if (parcel->is_error) {
		if (!read_quote(packet, &quoted))
			return false;
		end.port = parcel->nat_port ?: quoted.ports >> 16;
		end.is_source = true; /* of the quoted packet, which the backend sent */
		return rewrite_error(packet, &quoted, &end);
	}
	end.port = parcel->nat_port ?: packet->ports >> 16;
	if (parcel->has_tuples)
		remember_tuple(packet, backend, end.port);
	return rewrite_end(packet, &end);
}

#endif
