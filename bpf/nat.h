/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The mode nat: the destination becomes the backend's address and port. Beside the other modes in the
 * programs that choose backends it would be too much for the verifier and the stack, so a program of its own
 * does it (nat-forward.h), which reads the packet anew. What comes back is nat-reply.h's.
 */
#ifndef PORTICO_NAT_H
#define PORTICO_NAT_H

#include "maps.h"
#include "packet.h"

/* From the program that chose the backend to the one that sends the packet there. */
struct nat_job {
	__u32 outcome; /* enum outcome */
	__u32 subject; /* of the service */
	__u32 events;
	__u32 lost_swaps;
	__u32 backend;
	__be16 port; /* of the service's backends; 0: as it came */
	__u8 is_error;
	__u8 has_tuples; /* SERVICE_NAT_TUPLES */
	__u32 tcp_flags; /* also of QUIC */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nat_job);
} nat_jobs SEC(".maps");

static __always_inline struct nat_job *find_nat_job(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&nat_jobs, &only);
}

/* To the program `nat`: comes back only if it cannot be run. */
static __always_inline void hand_over_nat(struct xdp_md *ctx);

static __always_inline void forward_by_nat(const struct packet *packet, const struct service *service,
					   __u32 backend, __u32 outcome)
{
	struct nat_job *job = find_nat_job();

	if (!job)
		return;
	job->outcome = outcome;
	job->subject = packet->subject;
	job->events = packet->events;
	job->lost_swaps = packet->lost_swaps;
	job->backend = backend;
	job->port = service->nat_port;
	job->is_error = packet->is_error;
	job->tcp_flags = packet->tcp_flags;
	job->has_tuples = !!(service->flags & SERVICE_NAT_TUPLES);
	hand_over_nat(packet->ctx);
}

#endif
