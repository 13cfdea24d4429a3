/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the kernel keeps of a TCP connection before and after it has a whole socket. One packet, maybe forged,
 * is enough for either, and the connection may live elsewhere: a SYN that was repeated, or that somebody else
 * sent, leaves a request on a machine that never sees the rest; a connection that ended here leaves its
 * addresses behind for a minute, while a new one with the same ports is another machine's. Only a packet that
 * acknowledges what this machine sent belongs to them.
 */
#ifndef PORTICO_MINISOCKET_H
#define PORTICO_MINISOCKET_H

#include "wire.h"
#include <bpf/bpf_helpers.h>

#define TCP_STATE_TIME_WAIT 6
#define TCP_STATE_LISTEN 10
#define TCP_STATE_NEW_SYN_RECV 12

/* Acknowledgements of a connection that has ended may overtake each other by so many bytes. */
#define LATE_BYTES 65536

/* Of the kernel's structs the members that are read: libbpf finds their places on the machine. */
#define OF_THE_KERNEL __attribute__((preserve_access_index))

struct tcp_request_sock {
	__u32 snt_isn;
} OF_THE_KERNEL;

struct sock_common {
	__u32 skc_tw_snd_nxt;
} OF_THE_KERNEL;

struct inet_timewait_sock {
	struct sock_common __tw_common;
} OF_THE_KERNEL;

struct tcp_timewait_sock {
	struct inet_timewait_sock tw_sk;
} OF_THE_KERNEL;

/* The packet acknowledges what the request's SYN-ACK said. */
static __always_inline bool ends_handshake(struct bpf_sock *socket, __u32 acknowledged)
{
	struct tcp_request_sock *request = bpf_skc_to_tcp_request_sock(socket);

	return request && acknowledged == request->snt_isn + 1;
}

static __always_inline bool is_of_ended(struct bpf_sock *socket, __u32 acknowledged)
{
	struct tcp_timewait_sock *ended = bpf_skc_to_tcp_timewait_sock(socket);

	return ended && ended->tw_sk.__tw_common.skc_tw_snd_nxt - acknowledged < LATE_BYTES;
}

#endif
