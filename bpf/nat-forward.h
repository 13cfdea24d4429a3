/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* To a backend behind nat that another program has chosen. */
#ifndef PORTICO_NAT_FORWARD_H
#define PORTICO_NAT_FORWARD_H

#include "count.h"
#include "encapsulate.h"
#include "fragment.h"
#include "hops.h"
#include "nat.h"
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

/* The packet as the program before has read it. False: it cannot be, so it never is. */
static __always_inline bool read_again(struct packet *packet)
{
	struct fragment fragment = {};
	enum parsed parsed;

	if (!parse_ip(packet))
		return false;
	parsed = parse_transport(packet);
	if (parsed != PARSED_FRAGMENT)
		return parsed == PARSED_OK;
	if (read_fragment(packet, &fragment) != PARSED_FRAGMENT)
		return false;
	packet->is_later = !fragment.is_first;
	return packet->is_later || read_first_ports(packet) == PARSED_OK;
}

/* False: not possible. */
static __always_inline bool rewrite_to_backend(const struct packet *packet, const struct nat_job *job,
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
	if (job->is_error) {
		if (!read_quote(packet, &quoted))
			return false;
		end.port = job->port ?: quoted.ports >> 16;
		end.is_source = true; /* of the quoted packet, which the backend sent */
		return rewrite_error(packet, &quoted, &end);
	}
	end.port = job->port ?: packet->ports >> 16;
	if (job->has_tuples)
		remember_tuple(packet, backend, end.port);
	return rewrite_end(packet, &end);
}

static __always_inline enum outcome process_nat(struct packet *packet, const struct nat_job *job,
						int *verdict)
{
	const struct backend *backend = find_backend(job->backend);

	packet->subject = job->subject;
	packet->events = job->events;
	packet->lost_swaps = job->lost_swaps;
	packet->backend = job->backend;
	if (!backend || !read_again(packet))
		return OUTCOME_FAILED;
	packet->tcp_flags = job->tcp_flags;
	if (!rewrite_to_backend(packet, job, backend))
		return OUTCOME_FAILED;
	packet->frame = (void *)(long)packet->ctx->data; /* anew, as the packet has been rewritten */
	packet->ip = packet->frame + packet->ip_offset;
	if (packet->frame + ETHERNET_BYTES > packet_end(packet))
		return OUTCOME_FAILED;
	take_hop(packet);
	copy_bytes_12(packet->frame, backend->next_hop_mac);
	*verdict = send_out(packet->ctx, backend->ifindex);
	return job->outcome < OUTCOME_COUNT ? job->outcome : OUTCOME_FAILED; /* for the verifier */
}

/* Counts the packet; gives the verdict. */
static __always_inline int process_and_count_nat(struct xdp_md *ctx)
{
	const struct settings *all = find_settings();
	const struct nat_job *job = find_nat_job();
	struct packet packet = {.ctx = ctx};
	int verdict = XDP_DROP;

	if (!all || !job)
		return XDP_DROP;
	count(&packet, all, process_nat(&packet, job, &verdict));
	return verdict;
}

#endif
