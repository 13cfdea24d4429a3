/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* VIP -> backend: parse, select, encapsulate, count. What is not for a VIP is offered to the other roles. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* The test clock is the first of the data: where others are, the BTF of an unlinked object does not say. */
#include "clock.h"

#include "demand.h"
#include "fragments.h"
#include "icmp-error.h"
#include "nat-reply.h"
#include "prefixes.h"
#include "probe.h"
#include "process.h"
#include "relayed.h"
#include "roles.h"
#include "select.h"
#include "send.h"
#include "sweep.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* No code reads these: they bring the enums into the BTF, from which the TypeScript side is generated. */
const enum outcome *const outcome_type = 0;
const enum event *const event_type = 0;
const enum role *const role_type = 0;
const enum forwarding *const forwarding_type = 0;
const enum scheduler *const scheduler_type = 0;
const enum reason *const reason_type = 0;
const enum packing *const packing_type = 0;

static __always_inline enum outcome choose(struct packet *packet, const struct settings *all,
					   const struct service *service, __u32 quic, struct choice *choice)
{
	if (packet->ctx->ingress_ifindex == all->probe_ifindex && choose_probed(packet, all, choice)) {
		if (service->flags & SERVICE_HANDSHAKES)
			watch_probe(packet, choice->backend);
		return OUTCOME_PROBE;
	}
	if (is_new_connection(packet)) {
		if (is_limited(packet, service))
			return RARE(OUTCOME_LIMITED);
		count_new_flow(packet, all, service);
	}
	count_some_bytes(packet, all, service);
	return select_backend(packet, service, all, quic, choice);
}

int icmp(struct xdp_md *ctx);
int answer(struct xdp_md *ctx);
int fragment(struct xdp_md *ctx);
int relayed(struct xdp_md *ctx);
int hand_up_noted(struct xdp_md *ctx);
int send(struct xdp_md *ctx);
int nat_reply(struct xdp_md *ctx);

enum part {
	PART_ICMP,
	PART_ANSWER,
	PART_FRAGMENT,
	PART_RELAYED,
	PART_HAND_UP,
	PART_SEND,
	PART_NAT_REPLY,
	PART_COUNT
};

/* What few packets need: programs of their own, so that the verifier judges each alone and the stack
 * suffices. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, PART_COUNT);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} parts SEC(".maps") = {.values = {[PART_ICMP] = (void *)&icmp,
				   [PART_ANSWER] = (void *)&answer,
				   [PART_FRAGMENT] = (void *)&fragment,
				   [PART_RELAYED] = (void *)&relayed,
				   [PART_HAND_UP] = (void *)&hand_up_noted,
				   [PART_SEND] = (void *)&send,
				   [PART_NAT_REPLY] = (void *)&nat_reply}};

static __always_inline void hand_over_icmp(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &parts, PART_ICMP);
}

static __always_inline void hand_over_answer(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &parts, PART_ANSWER);
}

static __always_inline void hand_over_fragment(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &parts, PART_FRAGMENT);
}

static __always_inline void hand_over_relayed(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &parts, PART_RELAYED);
}

static __always_inline void hand_over_up(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &parts, PART_HAND_UP);
}

static __always_inline void hand_over_sending(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &parts, PART_SEND);
}

static __always_inline void hand_over_nat_reply(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &parts, PART_NAT_REPLY);
}

/* What is not for a VIP may be for another role of this machine. */
static __always_inline int offer_to_others(struct xdp_md *ctx, int verdict)
{
	if (verdict == XDP_PASS) {
		bpf_tail_call(ctx, &roles, ROLE_DNS);
		bpf_tail_call(ctx, &roles, ROLE_BACKEND);
	}
	return verdict;
}

SEC("xdp.frags")
int balancer(struct xdp_md *ctx)
{
	return offer_to_others(ctx, process_and_count(ctx));
}

SEC("xdp.frags")
int icmp(struct xdp_md *ctx)
{
	return offer_to_others(ctx, process_and_count_icmp(ctx));
}

SEC("xdp.frags")
int answer(struct xdp_md *ctx)
{
	return answer_and_count(ctx);
}

SEC("xdp.frags")
int fragment(struct xdp_md *ctx)
{
	return offer_to_others(ctx, process_and_count_fragment(ctx));
}

SEC("xdp.frags")
int relayed(struct xdp_md *ctx)
{
	return offer_to_others(ctx, unwrap_and_count(ctx));
}

SEC("xdp.frags")
int hand_up_noted(struct xdp_md *ctx)
{
	return hand_up_and_count(ctx);
}

SEC("xdp.frags")
int send(struct xdp_md *ctx)
{
	return send_and_count(ctx);
}

SEC("xdp.frags")
int nat_reply(struct xdp_md *ctx)
{
	return offer_to_others(ctx, process_and_count_nat_reply(ctx));
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
