/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * ICMP errors about packets that a VIP sent. They come from routers, so their own addresses say nothing of
 * the flow; the packet that they quote does, and its backend's kernel is the one that can act on them (path
 * MTU, unreachable).
 */
#ifndef PORTICO_ICMP_ERROR_H
#define PORTICO_ICMP_ERROR_H

#include "process.h"
#include "quote.h"
#include "select.h"

static __always_inline void hash_quoted(const struct packet *packet, const struct quoted *quoted,
					const struct settings *all, struct siphash *state)
{
	__u64 last = quoted->ports | (__u64)quoted->protocol << 32;

	sip_start(state, all->key);
	sip_word(state, quoted->addresses[0]);
	if (packet->is_ipv6) {
		sip_word(state, quoted->addresses[1]);
		sip_word(state, quoted->addresses[2]);
		sip_word(state, quoted->addresses[3]);
		sip_word(state, last | 37ULL << 56);
	} else {
		sip_word(state, last | 13ULL << 56);
	}
}

/* Where a packet of the quoted flow goes. */
static __always_inline enum outcome choose_quoted(struct packet *packet, const struct quoted *quoted,
						  const struct settings *all, const struct service *service,
						  struct choice *choice)
{
	struct siphash state;
	__u32 source_hash = 0;

	if (service->flags & SERVICE_HASH_SOURCE)
		source_hash = hash_source(all, quoted->addresses[0], quoted->addresses[1], packet->is_ipv6);
	hash_quoted(packet, quoted, all, &state);
	if (select_hashed(packet, service, all, &state, source_hash, 0, choice) == OUTCOME_NO_BACKEND)
		return OUTCOME_NO_BACKEND;
	return OUTCOME_ICMP_ERROR;
}

/* The program `balancer` has seen the packet: ICMP to a VIP, of sound lengths, and no echo that it answers.
 */
static __always_inline enum outcome process_icmp_error(struct packet *packet, const struct settings *all,
						       int *verdict)
{
	struct recent *recent = find_recent();
	const struct service *service;
	struct quoted quoted = {};
	struct choice choice = {};
	struct vip vip;

	if (!recent || !parse_ip(packet))
		return OUTCOME_NOT_IP;
	forget_tags(packet);
	vip = find_vip(packet, recent, all->generation);
	packet->subject = vip.subject;
	if (parse_transport(packet) != PARSED_OK || !read_quote(packet, &quoted))
		return leave_to_host(packet, verdict, OUTCOME_ICMP_OTHER);
	packet->is_error = true;
	packet->ports = quoted.ports;
	packet->protocol = quoted.protocol;
	service = find_service(packet, recent, vip.subject, all->generation);
	if (!service)
		return leave_to_host(packet, verdict, OUTCOME_ICMP_OTHER);
	packet->subject = service->subject;
	*verdict = XDP_DROP;
	if (is_expired(packet))
		return OUTCOME_TTL_EXPIRED;
	return send_chosen(packet, service, &choice, choose_quoted(packet, &quoted, all, service, &choice),
			   true, verdict);
}

/* Counts the packet; gives the verdict. */
static __always_inline int process_and_count_icmp(struct xdp_md *ctx)
{
	const struct settings *all = find_settings();
	struct packet packet = {.ctx = ctx};
	int verdict = XDP_PASS;

	if (!all)
		return XDP_PASS;
	count(&packet, all, process_icmp_error(&packet, all, &verdict));
	return verdict;
}

#endif
