/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What is known of the packet in hand. */
#ifndef PORTICO_PACKET_H
#define PORTICO_PACKET_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "wire.h"

/*
 * The result of a way that few packets go: `return RARE(x)`. Without it the compiler loads what such a way
 * returns before the branch that leads there, for every packet; with it the stable path takes 31 ns instead
 * of 36.
 */
#define RARE(result)                                                                                         \
	({                                                                                                   \
		asm volatile("" : : "i"(__COUNTER__));                                                       \
		result;                                                                                      \
	})

struct packet {
	struct xdp_md *ctx;
	void *frame;               /* the Ethernet header */
	void *ip;                  /* the IP header; both are only valid until the head is adjusted */
	__u32 ip_offset;           /* of the IP header in the frame: 14, 18 or 22 */
	__u32 tags[MAX_VLAN_TAGS]; /* VLAN tags as they lie on the wire, as many as fit before ip_offset */
	__u32 ip_length;           /* bytes by the IP header; 0 if that is more than the frame has */
	__u32 transport;           /* offset of the transport header from the IP header */
	__u32 ports;               /* source and destination, as they lie on the wire */
	__u8 protocol;             /* of the transport header */
	__u8 tcp_flags;            /* of QUIC, once it is read: SYN for an Initial, else ACK */
	__u8 hops;                 /* TTL or hop limit, as it came */
	bool is_ipv6;
	bool is_plain;    /* neither IPv4 options nor IPv6 extension headers */
	bool is_later;    /* a fragment without the transport header: no ports */
	bool is_error;    /* an ICMP error about the flow that ports and protocol name: never a new flow */
	__u32 subject;    /* whose counters: 0, the VIP's, the service's */
	__u32 backend;    /* index of the one that was chosen; 0: none yet */
	__u32 events;     /* bit for each enum event that happened */
	__u32 lost_swaps; /* EVENT_CAS_LOST, which can happen more than once */
	__u32 limit;      /* longest IP packet of its flow that fits on the way to its backend; 0: it fits */
};

/* Always 0, and the verifier does not know. */
__u32 unknown_zero SEC(".data") = 0;

/*
 * The same number, of which the verifier knows no more than its mask. It follows every combination of what it
 * knows of a packet (family, tags, protocol, a key or none) on its own, to the end; what it has forgotten is
 * one case. So what earlier branches have left is forgotten where much follows.
 */
static __always_inline __u32 forget(__u32 value, __u32 mask)
{
	return (value ^ *(volatile __u32 *)&unknown_zero) & mask;
}

static __always_inline __u64 forget_word(__u64 value)
{
	return value ^ *(volatile __u32 *)&unknown_zero;
}

/* What a function of its own gave: the verifier does not know, and a comparison in C the compiler moves to
 * where it does not see it. */
static __always_inline enum outcome known_outcome(__u64 outcome)
{
	asm volatile("if %0 < %1 goto +1; %0 = %2" : "+r"(outcome) : "i"(OUTCOME_COUNT), "i"(OUTCOME_FAILED));
	return outcome;
}

/* No flags are read of what is not TCP. */
static __always_inline bool is_new_connection(const struct packet *packet)
{
	return (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

/*
 * By hand: the compiler would keep &ctx->data_end in a register where a program asks often, and the verifier
 * refuses to read by anything but ctx itself. The operand that the text does not use tells that ctx is read,
 * so that the answer is asked for anew after a call that moves the packet, and not otherwise.
 */
static __always_inline void *packet_end(const struct packet *packet)
{
	void *end;

	asm("%0 = *(u32 *)(%1 + 4)" : "=r"(end) : "r"(packet->ctx), "m"(*packet->ctx));
	return end;
}

/* An IPv4 address as our maps know it: IPv4-mapped. */
static __always_inline void map_ipv4(struct address *mapped, __be32 address)
{
	__u32 *words = (__u32 *)mapped->bytes;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}

static __always_inline void copy_bytes_16(void *to, const void *from)
{
	((__u64 *)to)[0] = ((const __u64 *)from)[0];
	((__u64 *)to)[1] = ((const __u64 *)from)[1];
}

static __always_inline void copy_bytes_12(void *to, const void *from)
{
	((__u64 *)to)[0] = ((const __u64 *)from)[0];
	((__u32 *)to)[2] = ((const __u32 *)from)[2];
}

#endif
