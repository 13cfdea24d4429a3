/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Each packet adds one to exactly one outcome of one subject. A CPU writes its own element, so nothing is
 * atomic. */
#ifndef PORTICO_COUNT_H
#define PORTICO_COUNT_H

#include "capture.h"
#include "maps.h"
#include "packet.h"

/* One event and no other: 60 instructions less than asking for each. */
static __always_inline bool count_single(struct counters *own, const struct packet *packet, enum event event)
{
	if (packet->events != 1 << event || packet->lost_swaps)
		return false;
	own->event[event]++;
	return true;
}

/* A packet to no VIP, of which nothing else is to be told. */
static __always_inline void count_other(__u32 ip_length)
{
	__u32 index = bpf_get_smp_processor_id(); /* subject 0 */
	struct counters *own = bpf_map_lookup_elem(&counters, &index);

	if (!own)
		return;
	own->outcome[OUTCOME_NOT_VIP]++;
	own->bytes += ip_length;
}

static __always_inline void count(const struct packet *packet, const struct settings *all,
				  enum outcome outcome)
{
	struct counters *own;
	__u32 index;

	if (all->capture_every)
		end_capture(packet->subject, outcome, packet->backend, packet->events);
	index = packet->subject * all->cpus + bpf_get_smp_processor_id();
	own = bpf_map_lookup_elem(&counters, &index);
	if (!own)
		return;
	own->outcome[outcome]++;
	own->bytes += packet->ip_length;
	own->new_connections += is_new_connection(packet);
	if (!packet->events)
		return;
	/* What most packets of a change cause, and answers. */
	if (count_single(own, packet, EVENT_KEYED) || count_single(own, packet, EVENT_ANSWERED))
		return;
#pragma unroll
	for (int event = 0; event < EVENT_COUNT; event++) {
		if (event == EVENT_CAS_LOST)
			own->event[event] += packet->lost_swaps;
		else
			own->event[event] += packet->events >> event & 1;
	}
}

#endif
