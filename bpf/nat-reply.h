/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What backends behind nat answer passes back through a balancer, any one of the site: the source becomes the
 * VIP and its port again, by what the source alone says. A program of its own, run only for packets to no
 * VIP, and only where a service is forwarded by nat.
 */
#ifndef PORTICO_NAT_REPLY_H
#define PORTICO_NAT_REPLY_H

#include "count.h"
#include "egress.h"
#include "icmp.h"
#include "nat.h"

/* The VIP that packets from there are to come from; NULL: they are no replies. `has_tuples` is set where a
 * tuple should say it, but there is none. */
static __always_inline const struct nat_reply *find_reply(struct nat_tuple *tuple)
{
	const struct nat_reply *reply, *known;
	__be16 port = tuple->port;

	reply = bpf_map_lookup_elem(&nat_replies, tuple);
	if (!reply) {
		tuple->port = 0;
		reply = bpf_map_lookup_elem(&nat_replies, tuple);
		tuple->port = port;
	}
	if (!reply || !reply->has_tuples)
		return reply;
	known = bpf_map_lookup_elem(&nat_tuples, tuple);
	return known ?: reply;
}

/* What the packet in hand, or the one that an error quotes, names as backend and client. */
static __always_inline bool read_tuple(const struct packet *packet, const struct quoted *quoted,
				       bool is_error, struct nat_tuple *tuple)
{
	if (!is_error) {
		tuple->protocol = packet->protocol;
		tuple->port = packet->ports;
		tuple->client_port = packet->ports >> 16;
		return read_addresses(packet, (void *)tuple->address, (void *)tuple->client);
	}
	tuple->protocol = quoted->protocol;
	tuple->port = quoted->ports;
	tuple->client_port = quoted->ports >> 16;
	if (packet->is_ipv6) {
		copy_bytes_16(tuple->address, quoted->addresses);
		copy_bytes_16(tuple->client, quoted->addresses + 2);
	} else {
		map_ipv4((void *)tuple->address, quoted->addresses[0]);
		map_ipv4((void *)tuple->client, quoted->addresses[0] >> 32);
	}
	return true;
}

/* To the client, from the VIP, as the kernel knows it. */
static __always_inline struct way find_way_back(const struct packet *packet, const struct nat_reply *reply)
{
	struct address source, destination;

	if (!read_addresses(packet, &source, &destination))
		return (struct way){};
	return find_way(packet->ctx, reply->address, &destination, packet->is_ipv6, packet->ip_length);
}

static __always_inline bool must_stay_whole(const struct packet *packet)
{
	return packet->is_ipv6 || (packet->ip + IPV4_BYTES <= packet_end(packet) &&
				   ((struct ipv4 *)packet->ip)->fragment & bpf_htons(IPV4_DF));
}

/* By that way, with a hop less; else to the host's stack, which takes the hop. */
static __always_inline int send_reply(struct packet *packet, const struct way *way)
{
	packet->frame = (void *)(long)packet->ctx->data; /* anew, as the packet has been rewritten */
	packet->ip = packet->frame + packet->ip_offset;
	if (!way->ifindex || packet->frame + ETHERNET_BYTES > packet_end(packet))
		return XDP_PASS;
	take_hop(packet);
	copy_bytes_12(packet->frame, way->macs);
	return way->ifindex == way->ingress ? XDP_TX : bpf_redirect(way->ifindex, 0);
}

/* The program `balancer` has seen the packet: it is for no VIP. */
static __always_inline enum outcome process_nat_reply(struct packet *packet, int *verdict)
{
	const struct nat_reply *reply;
	struct nat_tuple tuple = {};
	struct quoted quoted = {};
	bool is_sound, is_error;
	struct way way;
	struct end end;

	if (!parse_ip(packet))
		return OUTCOME_NOT_IP;
	is_sound = parse_transport(packet) == PARSED_OK;
	packet->tcp_flags = 0; /* it opens no connection of ours */
	if (!is_sound || is_expired(packet))
		return OUTCOME_NOT_VIP;
	forget_reading(packet);
	is_error = is_icmp(packet);
	if (is_error ? !read_quote(packet, &quoted)
		     : packet->protocol != PROTOCOL_TCP && packet->protocol != PROTOCOL_UDP)
		return OUTCOME_NOT_VIP;
	if (!read_tuple(packet, &quoted, is_error, &tuple))
		return OUTCOME_NOT_VIP;
	reply = find_reply(&tuple);
	if (!reply)
		return OUTCOME_NOT_VIP;
	packet->subject = reply->subject;
	if (reply->has_tuples) {
		*verdict = XDP_DROP;
		return OUTCOME_FAILED; /* its tuple is gone: from another VIP it would be of no use */
	}
	way = find_way_back(packet, reply);
	/* The host tells the backend, which it could not do of a packet that says that it comes from the VIP.
	 */
	if (way.is_narrow && must_stay_whole(packet))
		return OUTCOME_TOO_BIG;
	end.address = reply->address;
	end.port = reply->port ?: tuple.port;
	end.is_source = !is_error;
	if (is_error ? !rewrite_error(packet, &quoted, &end) : !rewrite_end(packet, &end)) {
		*verdict = XDP_DROP;
		return OUTCOME_FAILED;
	}
	*verdict = send_reply(packet, &way);
	return OUTCOME_NAT_REPLY;
}

/* Counts the packet; gives the verdict. */
static __always_inline int process_and_count_nat_reply(struct xdp_md *ctx)
{
	const struct settings *all = find_settings();
	struct packet packet = {.ctx = ctx};
	int verdict = XDP_PASS;

	if (!all)
		return XDP_PASS;
	count(&packet, all, process_nat_reply(&packet, &verdict));
	return verdict;
}

#endif
