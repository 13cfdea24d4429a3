/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* VIP -> backend: parse, select, encapsulate, count. What is not for a VIP is offered to the other roles. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "count.h"
#include "encapsulate.h"
#include "icmp.h"
#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "roles.h"
#include "select.h"
#include "sweep.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* No code reads these: they bring the enums into the BTF, from which the TypeScript side is generated. */
const enum outcome *const outcome_type = 0;
const enum event *const event_type = 0;
const enum role *const role_type = 0;

static __always_inline struct vip *find_vip(const struct packet *packet)
{
	struct address mapped;

	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if (packet->ip + IPV6_BYTES > packet_end(packet))
			return NULL;
		return bpf_map_lookup_elem(&vips, ip->destination);
	}
	if (packet->ip + IPV4_BYTES > packet_end(packet))
		return NULL;
	map_ipv4(&mapped, ((struct ipv4 *)packet->ip)->destination);
	return bpf_map_lookup_elem(&vips, &mapped);
}

static __always_inline struct service *find_service(const struct packet *packet, __u32 vip)
{
	struct service_key key = {
	    .vip = vip,
	    .port = packet->ports >> 16, /* wire order on a little-endian machine: the second half */
	    .protocol = packet->protocol,
	};
	struct service *service;

	if (packet->protocol != PROTOCOL_TCP && packet->protocol != PROTOCOL_UDP)
		return NULL;
	service = bpf_map_lookup_elem(&services, &key);
	if (service)
		return service;
	key.port = 0;
	return bpf_map_lookup_elem(&services, &key);
}

/* The backend that a packet of our own prober asks for by its source address. */
static __always_inline __u32 *find_probed(const struct packet *packet)
{
	struct address mapped;

	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if (packet->ip + IPV6_BYTES > packet_end(packet))
			return NULL;
		return bpf_map_lookup_elem(&probe_sources, ip->source);
	}
	if (packet->ip + IPV4_BYTES > packet_end(packet))
		return NULL;
	map_ipv4(&mapped, ((struct ipv4 *)packet->ip)->source);
	return bpf_map_lookup_elem(&probe_sources, &mapped);
}

static __always_inline enum outcome choose(struct packet *packet, const struct service *service,
					   struct choice *choice)
{
	const struct settings *all = find_settings();

	if (!all)
		return OUTCOME_NO_BACKEND;
	if (packet->ctx->ingress_ifindex == all->probe_ifindex) {
		__u32 *probed = find_probed(packet);

		if (probed) {
			struct siphash state;

			hash_flow(packet, all, &state);
			choice->flow_label = sip_first_half(&state) & 0xfffff;
			choice->backend = *probed;
			return OUTCOME_PROBE;
		}
	}
	return select_backend(packet, service, all, choice);
}

/* XDP_ABORTED: not possible. */
static __always_inline int forward(struct packet *packet, const struct choice *choice)
{
	const struct backend *backend = find_backend(choice->backend);
	struct tunnel tunnel;
	__u32 bytes;

	if (!backend || !backend->ifindex)
		return XDP_ABORTED;
	tunnel.source = backend->source;
	tunnel.destination = backend->address;
	tunnel.macs = backend->next_hop_mac;
	tunnel.header_sum = backend->header_sum;
	tunnel.flow_label = choice->flow_label;
	tunnel.key = choice->key;
	tunnel.is_ipv6 = backend->flags & BACKEND_IPV6;
	bytes = outer_bytes(&tunnel);
	if (packet->ip_length + bytes > MAX_LENGTH + (tunnel.is_ipv6 ? IPV6_BYTES : 0))
		return XDP_ABORTED;
	if (bpf_xdp_adjust_head(packet->ctx, -(int)bytes))
		return XDP_ABORTED;
	if (!write_outer(packet, &tunnel, bytes))
		return XDP_ABORTED;
	return send_out(packet->ctx, backend->ifindex);
}

static __always_inline enum outcome process(struct xdp_md *ctx, struct packet *packet, int *verdict)
{
	struct choice choice = {};
	struct service *service;
	enum outcome outcome;
	enum parsed parsed;
	struct vip *vip;

	if (!parse_ip(ctx, packet))
		return OUTCOME_NOT_IP;
	vip = find_vip(packet);
	if (!vip)
		return OUTCOME_NOT_VIP;
	packet->subject = vip->subject;
	*verdict = XDP_DROP;
	parsed = parse_transport(packet);
	if (parsed != PARSED_OK)
		return parsed == PARSED_FRAGMENT ? OUTCOME_FRAGMENT : OUTCOME_MALFORMED;
	if (is_icmp(packet)) {
		outcome = answer_icmp(packet, vip);
		*verdict = outcome == OUTCOME_ICMP_ECHO ? XDP_TX : XDP_PASS;
		return outcome;
	}
	service = find_service(packet, vip->subject);
	if (!service) {
		*verdict = XDP_PASS;
		return OUTCOME_NO_SERVICE;
	}
	packet->subject = service->subject;
	outcome = choose(packet, service, &choice);
	if (outcome == OUTCOME_NO_BACKEND)
		return outcome;
	*verdict = forward(packet, &choice);
	if (*verdict != XDP_TX && *verdict != XDP_REDIRECT) {
		*verdict = XDP_DROP;
		return OUTCOME_FAILED;
	}
	return outcome;
}

SEC("xdp.frags")
int balancer(struct xdp_md *ctx)
{
	struct packet packet = {};
	int verdict = XDP_PASS;
	enum outcome outcome = process(ctx, &packet, &verdict);

	count(&packet, outcome);
	if (verdict == XDP_PASS) {
		bpf_tail_call(ctx, &roles, ROLE_DNS);
		bpf_tail_call(ctx, &roles, ROLE_BACKEND);
	}
	return verdict;
}

/* Run once by the loader: starts the sweeper, or hands a running one over to this version of the program. */
SEC("syscall")
int sweeper_start(void *unused)
{
	__u32 only = 0;
	struct sweeper *state = bpf_map_lookup_elem(&sweeper, &only);

	if (!state)
		return 1;
	bpf_timer_init(&state->timer, &sweeper, CLOCK_MONOTONIC); /* -EBUSY: it is running already */
	if (bpf_timer_set_callback(&state->timer, sweep_piece))
		return 2;
	return bpf_timer_start(&state->timer, SWEEP_PERIOD_NS, 0) ? 3 : 0;
}
