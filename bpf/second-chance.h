/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * In the middle of a change a balancer may not know where a flow lives; then a key names up to two other
 * backends, in GRE its key and in GUE private data. A packet whose flow this machine does not
 * know goes on to the first of them, with the rest of the key, so after two hops at most it is handed up,
 * wherever it is.
 */
#ifndef PORTICO_SECOND_CHANCE_H
#define PORTICO_SECOND_CHANCE_H

#include "agent-maps.h"
#include "decapsulate.h"
#include "encapsulate.h"
#include "minisocket.h"
#include "quic-id.h"
#include "quote.h"

/* The headers that sockets are looked up by, copied: IPv4 options and IPv6 extension headers are left out. */
struct connection {
	__u8 ip[IPV6_BYTES];
	struct tcp tcp;
};

/* A flow as its sockets know it: from the client to the VIP. */
struct flow_name {
	struct bpf_sock_tuple tuple;
	__u8 is_ipv6;
	__u8 protocol;
};

/* `ports` as on the wire. */
static __always_inline void name_ipv6(struct flow_name *name, const void *source, const void *destination,
				      __u32 ports)
{
	name->is_ipv6 = true;
	copy_bytes_16(name->tuple.ipv6.saddr, source);
	copy_bytes_16(name->tuple.ipv6.daddr, destination);
	name->tuple.ipv6.sport = ports;
	name->tuple.ipv6.dport = ports >> 16;
}

static __always_inline void name_ipv4(struct flow_name *name, __be32 source, __be32 destination, __u32 ports)
{
	name->is_ipv6 = false;
	name->tuple.ipv4.saddr = source;
	name->tuple.ipv4.daddr = destination;
	name->tuple.ipv4.sport = ports;
	name->tuple.ipv4.dport = ports >> 16;
}

static __always_inline bool read_connection(const struct packet *inner, struct connection *connection,
					    struct flow_name *name)
{
	__u32 ip_bytes = inner->is_ipv6 ? IPV6_BYTES : IPV4_BYTES;

	if (bpf_xdp_load_bytes(inner->ctx, inner->ip_offset, connection->ip, ip_bytes))
		return false;
	name->protocol = inner->protocol;
	if (inner->is_ipv6)
		name_ipv6(name, connection->ip + 8, connection->ip + 24, inner->ports);
	else
		name_ipv4(name, *(__u32 *)(connection->ip + 12), *(__u32 *)(connection->ip + 16),
			  inner->ports);
	return inner->protocol != PROTOCOL_TCP ||
	       !bpf_xdp_load_bytes(inner->ctx, inner->ip_offset + inner->transport, &connection->tcp,
				   TCP_BYTES);
}

static __always_inline struct bpf_sock *find_tcp(const struct packet *inner, struct flow_name *name)
{
	if (name->is_ipv6)
		return bpf_skc_lookup_tcp(inner->ctx, &name->tuple, sizeof(name->tuple.ipv6),
					  BPF_F_CURRENT_NETNS, 0);
	return bpf_skc_lookup_tcp(inner->ctx, &name->tuple, sizeof(name->tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

static __always_inline struct bpf_sock *find_udp(const struct packet *inner, struct flow_name *name)
{
	if (name->is_ipv6)
		return bpf_sk_lookup_udp(inner->ctx, &name->tuple, sizeof(name->tuple.ipv6),
					 BPF_F_CURRENT_NETNS, 0);
	return bpf_sk_lookup_udp(inner->ctx, &name->tuple, sizeof(name->tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

/*
 * Does the connection live here? A socket of it, or a listener that sent it a SYN cookie. (A lookup finds the
 * listener for connections that nobody here knows, so its state has to be asked for first.) `connection`:
 * with the headers that cookies and handshakes are checked by; NULL: there are none, in an ICMP error.
 */
static __always_inline bool is_socket_of(struct bpf_sock *socket, const struct packet *inner,
					 struct connection *connection)
{
	bool is_acknowledging = connection && inner->tcp_flags & TCP_ACK;
	__u32 acknowledged = is_acknowledging ? bpf_ntohl(connection->tcp.acknowledgement) : 0;

	switch (socket->state) {
	case TCP_STATE_LISTEN:
		return is_acknowledging && bpf_tcp_check_syncookie(socket, connection->ip,
								   inner->is_ipv6 ? IPV6_BYTES : IPV4_BYTES,
								   (void *)&connection->tcp, TCP_BYTES) == 0;
	case TCP_STATE_NEW_SYN_RECV:
		return is_acknowledging && ends_handshake(socket, acknowledged);
	case TCP_STATE_TIME_WAIT:
		return is_acknowledging && is_of_ended(socket, acknowledged);
	default:
		return true;
	}
}

static __always_inline bool has_tcp(const struct packet *inner, struct flow_name *name,
				    struct connection *connection)
{
	struct bpf_sock *socket = find_tcp(inner, name);
	bool is_known;

	if (!socket)
		return false;
	is_known = is_socket_of(socket, inner, connection);
	bpf_sk_release(socket);
	return is_known;
}

/* A server that has one socket for all its flows may have this one, too: only where there is none at all the
 * flow is elsewhere. */
static __always_inline bool has_udp(const struct packet *inner, struct flow_name *name)
{
	struct bpf_sock *socket = find_udp(inner, name);

	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}

enum whose { WHOSE_UNKNOWN, WHOSE_OURS, WHOSE_ANOTHERS };

static __always_inline const struct agent_quic *find_agent_quic(const struct connection *connection,
								const struct packet *inner)
{
	struct agent_port_prefix prefix = {.bits = 32 + 128, .port = inner->ports >> 16};
	struct agent_port port = {.port = prefix.port};
	const struct agent_quic *quic;

	if (inner->is_ipv6)
		copy_bytes_16(port.vip, connection->ip + 24);
	else
		map_ipv4((void *)port.vip, *(__u32 *)(connection->ip + 16));
	quic = bpf_map_lookup_elem(&agent_quic, &port);
	if (quic)
		return quic;
	port.port = 0;
	quic = bpf_map_lookup_elem(&agent_quic, &port);
	if (quic)
		return quic;
	__builtin_memcpy(prefix.vip, port.vip, sizeof(prefix.vip));
	quic = bpf_map_lookup_elem(&agent_quic_prefixes, &prefix);
	if (quic)
		return quic;
	prefix.port = 0;
	return bpf_map_lookup_elem(&agent_quic_prefixes, &prefix);
}

/* By the connection ID of QUIC. Initials and 0-RTT were meant for us. */
static __always_inline enum whose whose_quic(const struct packet *inner, const struct connection *connection)
{
	const struct agent_quic *own = find_agent_quic(connection, inner);
	struct quic copy, *quic;
	__u64 id = 0;
	__u32 answer;

	if (!own)
		return WHOSE_UNKNOWN;
	quic = quic_begin(inner, &copy);
	if (!quic)
		return WHOSE_UNKNOWN;
	answer = read_quic_id(bpf_be64_to_cpu(quic->begin), bpf_be64_to_cpu(quic->end),
			      bpf_ntohs(quic->udp.length), own->config | own->id_bytes << 8, &id);
	if (answer >> QUIC_EARLY_SHIFT & 1)
		return WHOSE_OURS;
	if (!(answer & QUIC_HAS_ID))
		return WHOSE_UNKNOWN;
	return id == own->id ? WHOSE_OURS : WHOSE_ANOTHERS;
}

static __always_inline bool is_flow_here(const struct packet *inner)
{
	struct connection connection = {};
	struct flow_name name = {};
	enum whose whose;

	if (!read_connection(inner, &connection, &name))
		return true; /* never: its headers have been parsed */
	if (inner->protocol == PROTOCOL_TCP)
		return has_tcp(inner, &name, &connection);
	whose = whose_quic(inner, &connection);
	return whose == WHOSE_UNKNOWN ? has_udp(inner, &name) : whose == WHOSE_OURS;
}

/* ICMP errors go where the flow is that they quote; all other ICMP stays. */
static __always_inline bool is_quoted_here(const struct packet *inner)
{
	struct quoted quoted = {};
	struct flow_name name = {};

	if (!read_quote(inner, &quoted))
		return true;
	if (inner->is_ipv6)
		name_ipv6(&name, quoted.addresses, quoted.addresses + 2, quoted.ports);
	else
		name_ipv4(&name, quoted.addresses[0], quoted.addresses[0] >> 32, quoted.ports);
	if (quoted.protocol == PROTOCOL_TCP)
		return has_tcp(inner, &name, NULL);
	return quoted.protocol != PROTOCOL_UDP || has_udp(inner, &name);
}

/* Is the packet for this machine, as far as its sockets and server ID tell? */
static __always_inline bool is_known_here(const struct packet *inner)
{
	if (inner->protocol == (inner->is_ipv6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP))
		return is_quoted_here(inner);
	if (inner->protocol == PROTOCOL_TCP && (inner->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return true; /* a new connection: the balancer meant us */
	if (inner->protocol != PROTOCOL_TCP && inner->protocol != PROTOCOL_UDP)
		return true;
	return is_flow_here(inner);
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
	tunnel->source_low = 0;
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
	inner->ip_offset = packet->ip_offset;
	inner->tags[0] = packet->tags[0];
	inner->tags[1] = packet->tags[1];
	set_tags(inner, member->egress);
	if (bpf_xdp_adjust_head(packet->ctx, (int)(outer->bytes + packet->ip_offset) -
						 (int)(outer_bytes(&tunnel) + inner->ip_offset)))
		return XDP_ABORTED;
	if (!write_outer(inner, &tunnel))
		return XDP_ABORTED;
	return send_out(packet->ctx, member->ifindex);
}

#endif
