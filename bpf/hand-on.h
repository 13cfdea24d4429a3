/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Ways to a backend that are out of the ordinary: nat, other VLAN tags, a next hop that is in doubt. Beside
 * the ordinary ones in the programs that choose backends they would be too much for the verifier and the
 * stack, so a program of its own sends these packets (send.h). It reads them anew.
 */
#ifndef PORTICO_HAND_ON_H
#define PORTICO_HAND_ON_H

#include "maps.h"
#include "packet.h"

struct choice {
	__u32 backend;
	__u32 key; /* other candidates; 0: none */
	__u32 flow_label;
	__u32 outcome; /* enum outcome, if it is sent */
};

/* From the program that chose the backend to the one that sends the packet there. */
struct parcel {
	struct choice choice;
	__u32 subject; /* of the service */
	__u32 events;
	__u32 lost_swaps;
	__u32 tcp_flags;  /* also of QUIC */
	__u32 forwarding; /* enum forwarding */
	__be16 nat_port;  /* of the service's backends; 0: as it came */
	__u8 is_error;
	__u8 has_tuples; /* SERVICE_NAT_TUPLES */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct parcel);
} parcels SEC(".maps");

static __always_inline struct parcel *find_parcel(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&parcels, &only);
}

/* To the program `send`: comes back only if it cannot be run. */
static __always_inline void hand_over_sending(struct xdp_md *ctx);

static __always_inline void hand_on(const struct packet *packet, const struct service *service,
				    __u32 forwarding, const struct choice *choice)
{
	struct parcel *parcel = find_parcel();

	if (!parcel)
		return;
	parcel->choice = *choice;
	parcel->subject = packet->subject;
	parcel->events = packet->events;
	parcel->lost_swaps = packet->lost_swaps;
	parcel->tcp_flags = packet->tcp_flags;
	parcel->forwarding = forwarding;
	parcel->nat_port = service->nat_port;
	parcel->is_error = packet->is_error;
	parcel->has_tuples = !!(service->flags & SERVICE_NAT_TUPLES);
	hand_over_sending(packet->ctx);
}

#endif
