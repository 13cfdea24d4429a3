/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The way of a packet from the wire to its outcome. Which backend it goes to is the including program's part,
 * so that the reference program in bench/ differs from ours in that alone.
 */
#ifndef PORTICO_PROCESS_H
#define PORTICO_PROCESS_H

#include "answer.h"
#include "count.h"
#include "forward.h"
#include "hand-up.h"
#include "hops.h"
#include "host.h"
#include "icmp.h"
#include "parse.h"
#include "quic.h"
#include "vip.h"

/* `quic`: what read_quic gave; 0: no QUIC, nor are fragments (RFC 9000, 14). Fills `choice`;
 * OUTCOME_NO_BACKEND: there is none. */
static __always_inline enum outcome choose(struct packet *packet, const struct settings *all,
					   const struct service *service, __u32 quic, struct choice *choice);

/* ICMP other than echo, to a VIP: comes back only if no other program takes it over. */
static __always_inline void hand_over_icmp(struct xdp_md *ctx);

/* To no VIP, where backends answer through us: the same. */
static __always_inline void hand_over_nat_reply(struct xdp_md *ctx);

/* Fragments to a VIP, and GRE to this balancer: the same. */
static __always_inline void hand_over_fragment(struct xdp_md *ctx);
static __always_inline void hand_over_relayed(struct xdp_md *ctx);

/* Not for a VIP; but a fragment may come from another balancer, wrapped in GRE,
 * or be what a backend behind nat answers. */
static __always_inline enum outcome process_other(const struct packet *packet, const struct settings *all,
						  struct vip vip)
{
	__u8 *ip = packet->ip;

	if (vip.flags & VIP_OWN && packet->ip + IPV4_BYTES <= packet_end(packet) &&
	    ip[packet->is_ipv6 ? 6 : 9] == PROTOCOL_GRE)
		hand_over_relayed(packet->ctx);
	/* Our own connections to a backend are no replies. */
	if (all->nat_replies && !(vip.flags & VIP_OWN))
		hand_over_nat_reply(packet->ctx);
	return OUTCOME_NOT_VIP;
}

static __always_inline enum outcome process_icmp(struct packet *packet, const struct vip *vip, int *verdict)
{
	if (answer_echo(packet, vip)) {
		*verdict = XDP_TX;
		return OUTCOME_ICMP_ECHO;
	}
	hand_over_icmp(packet->ctx);
	return RARE(OUTCOME_FAILED);
}

/* The packet is one too many, or the service has no backend for it: dropped in silence, or told, as the
 * configuration says. */
static __always_inline enum outcome without_backend(const struct packet *packet,
						    const struct service *service, enum outcome outcome)
{
	if (outcome == OUTCOME_LIMITED)
		return outcome;
	return service->flags & SERVICE_UNREACHABLE ? answer_back(packet, OUTCOME_NO_BACKEND)
						    : OUTCOME_NO_BACKEND;
}

/* The backend (for REASON_RELAY: the balancer) was chosen, but the packet cannot be sent to it. */
static __always_inline enum outcome unsent(struct packet *packet, const struct choice *choice,
					   enum reason reason)
{
	if (!packet->limit)
		return OUTCOME_FAILED;
	if (is_senders_part(packet))
		return answer_back(packet, OUTCOME_TOO_BIG);
	return hand_up_oversized(packet, choice, reason);
}

/* To the backend that was chosen with that outcome; gives what became of it. */
static __always_inline enum outcome send_chosen(struct packet *packet, const struct service *service,
						struct choice *choice, enum outcome outcome, bool is_rare,
						int *verdict)
{
	choice->outcome = outcome;
	if (!choice->backend)
		return RARE(without_backend(packet, service, outcome));
	packet->backend = choice->backend;
	*verdict = forward(packet, service, choice, &outcome, is_rare);
	if (*verdict != XDP_TX && *verdict != XDP_REDIRECT) {
		*verdict = XDP_DROP;
		return RARE(unsent(packet, choice, REASON_OVERSIZED));
	}
	return outcome;
}

static __always_inline enum outcome process(struct packet *packet, const struct settings *all,
					    struct recent *recent, int *verdict)
{
	const struct service *service;
	struct choice choice = {};
	enum parsed parsed;
	__u32 quic = 0;
	struct vip vip;

	if (!parse_ip(packet))
		return RARE(OUTCOME_NOT_IP);
	forget_tags(packet);
	vip = find_vip(packet, recent, all->generation);
	if (!vip.subject)
		return RARE(process_other(packet, all, vip));
	packet->subject = vip.subject;
	*verdict = XDP_DROP;
	parsed = parse_transport(packet);
	if (parsed == PARSED_FRAGMENT) {
		hand_over_fragment(packet->ctx);
		return RARE(OUTCOME_FAILED);
	}
	if (parsed != PARSED_OK)
		return RARE(OUTCOME_MALFORMED);
	if (is_icmp(packet))
		return process_icmp(packet, &vip, verdict);
	service = find_service(packet, recent, vip.subject, all->generation);
	if (!service)
		return RARE(leave_to_host(packet, verdict, OUTCOME_NO_SERVICE));
	packet->subject = service->subject;
	if (is_expired(packet))
		return RARE(answer_back(packet, OUTCOME_TTL_EXPIRED));
	if (service->flags & SERVICE_QUIC)
		quic = read_quic(packet, service);
	return send_chosen(packet, service, &choice, choose(packet, all, service, quic, &choice), false,
			   verdict);
}

/* Counts the packet; gives the verdict. */
static __always_inline int process_and_count(struct xdp_md *ctx)
{
	const struct settings *all = find_settings();
	struct recent *recent = find_recent();
	struct packet packet = {.ctx = ctx};
	const struct recent_vip *seen;
	int verdict = XDP_PASS;
	enum outcome outcome;
	__u32 ip_length = 0;

	if (!all || !recent)
		return XDP_PASS;
	seen = glance(ctx, recent, all->generation, &ip_length);
	if (seen && !(seen->subject | seen->flags | all->capture_every | all->nat_replies)) {
		count_other(ip_length);
		return XDP_PASS;
	}
	if (all->capture_every)
		begin_capture(ctx);
	outcome = process(&packet, all, recent, &verdict);
	count(&packet, all, outcome);
	return verdict;
}

#endif
