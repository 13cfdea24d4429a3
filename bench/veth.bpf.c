/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Around a balancer on a veth: a generator that the kernel runs as live frames, a redirect that does nothing
 * else, and a sink. All of it in one context on one CPU, so that rates compare programs and not schedulers.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "wire.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Set by the bench, through the mapped section. */
struct stream {
	__u8 headers[ETHERNET_BYTES + IPV4_BYTES]; /* of every frame, as it is sent */
	__u8 zero[6];
	__u32 flow;  /* of the next frame: source port and more */
	__u32 flows; /* at most 2^16 */
	__u32 out;   /* interface that `redirect_only` sends to */
	__u32 unused;
	__u64 sent;    /* by the generator */
	__u64 arrived; /* at the sink; one CPU writes both */
};

struct stream stream_state SEC(".data") = {};

/* Pages of live frames are used again and not reset, so all of a frame's headers are written. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	__u64 *to = data;
	const __u64 *from = (const __u64 *)stream_state.headers;
	struct tcp *tcp = data + ETHERNET_BYTES + IPV4_BYTES;
	__u32 flow = stream_state.flow;

	if ((void *)(tcp + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
	*(__u16 *)(to + 4) = *(const __u16 *)(from + 4);
	tcp->ports.source = flow;
	tcp->ports.destination = bpf_htons(80);
	*(__u32 *)((void *)tcp + 12) = bpf_htonl(0x50100400); /* ACK */
	stream_state.flow = flow + 1 < stream_state.flows ? flow + 1 : 0;
	stream_state.sent++;
	return XDP_TX;
}

SEC("xdp.frags")
int redirect_only(struct xdp_md *ctx)
{
	return bpf_redirect(stream_state.out, 0);
}

SEC("xdp.frags")
int sink(struct xdp_md *ctx)
{
	stream_state.arrived++;
	return XDP_DROP;
}
