/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * In the middle of a change a balancer may not know where a flow lives; then a key names up to two other
 * backends, in GRE its key and in GUE private data. A packet of a TCP connection that this machine does not
 * know goes on to the first of them, with the rest of the key, so after two hops at most it is handed up,
 * wherever it is.
 */
#ifndef PORTICO_SECOND_CHANCE_H
#define PORTICO_SECOND_CHANCE_H

#include "agent-maps.h"
#include "decapsulate.h"
#include "encapsulate.h"

#define TCP_STATE_LISTEN 10

/* The headers that sockets are looked up by, copied: IPv4 options and IPv6 extension headers are left out. */
struct connection {
	__u8 ip[IPV6_BYTES];
	struct tcp tcp;
};

static __always_inline bool read_connection(const struct packet *inner, struct connection *connection)
{
	__u32 ip_bytes = inner->is_ipv6 ? IPV6_BYTES : IPV4_BYTES;

	return !bpf_xdp_load_bytes(inner->ctx, inner->ip_offset, connection->ip, ip_bytes) &&
	       !bpf_xdp_load_bytes(inner->ctx, inner->ip_offset + inner->transport, &connection->tcp,
				   TCP_BYTES);
}

static __always_inline struct bpf_sock *find_socket(const struct packet *inner,
						    const struct connection *connection)
{
	struct bpf_sock_tuple tuple = {};

	if (inner->is_ipv6) {
		copy_bytes_16(tuple.ipv6.saddr, connection->ip + 8);
		copy_bytes_16(tuple.ipv6.daddr, connection->ip + 24);
		tuple.ipv6.sport = connection->tcp.ports.source;
		tuple.ipv6.dport = connection->tcp.ports.destination;
		return bpf_skc_lookup_tcp(inner->ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	tuple.ipv4.saddr = *(__u32 *)(connection->ip + 12);
	tuple.ipv4.daddr = *(__u32 *)(connection->ip + 16);
	tuple.ipv4.sport = connection->tcp.ports.source;
	tuple.ipv4.dport = connection->tcp.ports.destination;
	return bpf_skc_lookup_tcp(inner->ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

/*
 * Does the connection live here? A socket of it, or a listener that sent it a SYN cookie. (A lookup finds the
 * listener for connections that nobody here knows, so its state has to be asked for first.)
 */
static __always_inline bool is_known_here(const struct packet *inner)
{
	struct connection connection = {};
	struct bpf_sock *socket;
	bool is_known;

	if (!read_connection(inner, &connection))
		return true; /* never: its headers have been parsed */
	socket = find_socket(inner, &connection);
	if (!socket)
		return false;
	is_known = socket->state != TCP_STATE_LISTEN;
	if (!is_known && inner->tcp_flags & TCP_ACK)
		is_known =
		    bpf_tcp_check_syncookie(socket, connection.ip, inner->is_ipv6 ? IPV6_BYTES : IPV4_BYTES,
					    (void *)&connection.tcp, TCP_BYTES) == 0;
	bpf_sk_release(socket);
	return is_known;
}

static __always_inline __u32 sum_ipv4_address(const __u8 *mapped)
{
	const __be16 *words = (const __be16 *)(mapped + 12);

	return bpf_ntohs(words[0]) + bpf_ntohs(words[1]);
}

/* From this machine to the candidate; the key keeps what is left of the candidates. False: no address of its
 * family. */
static __always_inline bool make_tunnel(const struct member *member, const struct outer *outer,
					struct tunnel *tunnel)
{
	const struct agent_settings *own = find_agent_settings();

	if (!own)
		return false;
	tunnel->is_ipv6 = member->flags & BACKEND_IPV6;
	tunnel->source = tunnel->is_ipv6 ? own->address6 : own->address4;
	tunnel->destination = member->address;
	tunnel->macs = member->next_hop_mac;
	tunnel->protocol = outer->protocol;
	tunnel->source_port = outer->source_port;
	tunnel->header_sum = 0x4500 + IPV4_DF + (OUTER_TTL << 8 | PROTOCOL_GRE) +
			     sum_ipv4_address(tunnel->source) + sum_ipv4_address(tunnel->destination);
	tunnel->flow_label = outer->flow_label;
	tunnel->key = outer->key << 16;
	return ((const __u64 *)tunnel->source)[1];
}

/* The verdict; XDP_ABORTED: the kernel refused. The packet's outer headers are replaced by others, maybe of
 * another length. */
static __always_inline int forward_to(const struct packet *packet, struct packet *inner,
				      const struct outer *outer, const struct member *member)
{
	struct tunnel tunnel;

	if (!make_tunnel(member, outer, &tunnel) || !length_can_be_said(inner, &tunnel))
		return XDP_ABORTED;
	if (bpf_xdp_adjust_head(packet->ctx, (int)outer->bytes - (int)outer_bytes(&tunnel)))
		return XDP_ABORTED;
	inner->ip_offset = packet->ip_offset;
	inner->tags[0] = packet->tags[0];
	inner->tags[1] = packet->tags[1];
	if (!write_outer(inner, &tunnel))
		return XDP_ABORTED;
	return send_out(packet->ctx, member->ifindex);
}

#endif
