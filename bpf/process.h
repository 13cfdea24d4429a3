/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The way of a packet from the wire to its outcome. Which backend it goes to is the including program's part,
 * so that the reference program in bench/ differs from ours in that alone.
 */
#ifndef PORTICO_PROCESS_H
#define PORTICO_PROCESS_H

#include "forward.h"
#include "icmp.h"
#include "parse.h"
#include "vip.h"

/* Fills `choice`; OUTCOME_NO_BACKEND: there is none. */
static __always_inline enum outcome choose(struct packet *packet, const struct service *service,
					   struct choice *choice);

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

#endif
