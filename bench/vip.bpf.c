/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * One turn of `bench vip`. The kernel's test-run repeats a program on the frame that the last turn left, so
 * each turn first takes the last one's encapsulation off again, puts back what it overwrote, makes the frame
 * one of the next flow, and then calls the program under test.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "wire.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} program_under_test SEC(".maps");

/* Set by the bench before each sample, through the mapped section. */
struct turn {
	__u64 macs;         /* the first 8 bytes of the Ethernet header */
	__u32 macs_end;     /* the next 4 */
	__be16 type;        /* and its last 2 */
	__u16 is_ipv6;      /* 0 or 1 */
	__u32 frame_bytes;  /* of the frame as it arrives */
	__u32 flow;         /* of the next turn: 0 .. flows - 1 */
	__u32 stride;       /* from a turn's flow to the next one's; less than flows */
	__u32 flows;        /* 0: all 2^32 */
	__be16 destination; /* port */
	__u16 named; /* QUIC with short headers: server IDs of 2 bytes, 1 .. this; 0: none is written */
	__u32 hops;  /* the 4 bytes with the TTL, or those with the hop limit, that a forwarder changes */
	__u16 quote; /* of an ICMP error: where the quoted IP header begins in the frame; 0: it is none */
	__u16 answer_head; /* of a packet that is answered: by how much the answer's head stands before its
			      own; 0: it is none */
	__be32 vip;        /* of IPv4, which nat changes */
};

struct turn turn_state SEC(".data") = {};

/* The barrier keeps the compiler from subtracting with 32 bits, which the verifier forbids for pointers. */
static __always_inline int frame_bytes(struct xdp_md *ctx)
{
	long bytes = (long)ctx->data_end - (long)ctx->data;

	asm volatile("" : "+r"(bytes));
	return bytes;
}

static __always_inline __u32 next_flow(void)
{
	__u32 flow = turn_state.flow;
	__u32 next = flow + turn_state.stride;

	turn_state.flow = turn_state.flows && next >= turn_state.flows ? next - turn_state.flows : next;
	return flow;
}

/* The flow is the one that the quoted packet belongs to, sent by the VIP. */
static __always_inline int next_error(struct xdp_md *ctx, __u32 flow)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	void *quote = data + (turn_state.quote & 127);
	__u32 hops = turn_state.is_ipv6 ? 4 : 8, header = turn_state.is_ipv6 ? IPV6_BYTES : IPV4_BYTES;
	struct ports *ports = quote + header;

	if (data + ETHERNET_BYTES + IPV6_BYTES > end || (void *)(ports + 1) > end)
		return XDP_ABORTED;
	*(__u32 *)(data + ETHERNET_BYTES + hops) = turn_state.hops;
	/* The last 4 bytes of the quoted destination. */
	*(__be32 *)(quote + header - 4) = bpf_htonl(0x0a000000 | (flow & 0xffffff));
	ports->source = turn_state.destination;
	ports->destination = bpf_htons(1024 + (flow >> 24));
	bpf_tail_call(ctx, &program_under_test, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int turn(struct xdp_md *ctx)
{
	int grown = frame_bytes(ctx) - turn_state.frame_bytes;
	struct ports *ports;
	void *data, *end;
	__be32 *source;
	__u32 flow;

	if (turn_state.answer_head && grown) {
		/* The answer quotes the packet's beginning, so that is still there; the end of it is zeros
		 * now. */
		if (bpf_xdp_adjust_head(ctx, turn_state.answer_head) ||
		    bpf_xdp_adjust_tail(ctx, turn_state.answer_head - grown))
			return XDP_ABORTED;
	} else if (grown && bpf_xdp_adjust_head(ctx, grown)) {
		return XDP_ABORTED;
	}
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + ETHERNET_BYTES + IPV6_BYTES + sizeof(struct ports) > end)
		return XDP_ABORTED;
	*(__u64 *)data = turn_state.macs;
	*(__u32 *)(data + 8) = turn_state.macs_end;
	*(__be16 *)(data + 12) = turn_state.type;
	flow = next_flow();
	if (turn_state.quote)
		return next_error(ctx, flow);
	if (turn_state.is_ipv6) {
		source = data + ETHERNET_BYTES + 20; /* the last 4 bytes of it */
		*(__u32 *)(data + ETHERNET_BYTES + 4) = turn_state.hops;
		ports = data + ETHERNET_BYTES + IPV6_BYTES;
	} else {
		source = data + ETHERNET_BYTES + 12;
		*(__u32 *)(data + ETHERNET_BYTES + 8) = turn_state.hops;
		*(__be32 *)(data + ETHERNET_BYTES + 16) = turn_state.vip;
		ports = data + ETHERNET_BYTES + IPV4_BYTES;
	}
	/* 16 million addresses, then the next port of each. */
	*source = bpf_htonl(0x0a000000 | (flow & 0xffffff));
	ports->source = bpf_htons(1024 + (flow >> 24));
	ports->destination = turn_state.destination;
	if (turn_state.named) {
		__be16 *id = (void *)ports + UDP_BYTES + 2; /* behind the first octets of packet and ID */

		if ((void *)(id + 1) > end)
			return XDP_ABORTED;
		*id = bpf_htons(1 + flow % turn_state.named);
	}
	bpf_tail_call(ctx, &program_under_test, 0);
	return XDP_ABORTED;
}

/* The baselines: what the loop costs, with the head moved as an encapsulation does, or left alone. */
SEC("xdp.frags")
int only_grow(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -(IPV4_BYTES + GRE_BYTES)) ? XDP_ABORTED : XDP_TX;
}

/* What an answer does to the frame, at the least. */
SEC("xdp.frags")
int only_answer(struct xdp_md *ctx)
{
	int bytes = frame_bytes(ctx);
	int answer = turn_state.answer_head == IPV4_BYTES + ICMP_BYTES ? ETHERNET_BYTES + 52 : 1246;

	if (bpf_xdp_adjust_tail(ctx, answer - bytes) ||
	    bpf_xdp_adjust_head(ctx, -(int)turn_state.answer_head))
		return XDP_ABORTED;
	return XDP_TX;
}

SEC("xdp.frags")
int only_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}
