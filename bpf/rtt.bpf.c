/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * On the backend: round trips between VIPs and clients, as the kernel's TCP measures them. Runs for the
 * sockets of a cgroup (the root's: all of them) and changes nothing about them.
 *
 * Each connection that opens gives one, from SYN-ACK to ACK, which nothing delays: the kernel asks for no
 * callback beyond the ones that it makes anyway. Few connections go on being looked at, so that paths of long
 * ones are seen to change: of their round trips few are noted, as the least of the last five minutes
 * (tcp_min_rtt_wlen).
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "agent-vips.h"
#include "rtt-sets.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define AF_INET 2
#define AF_INET6 10
/* Of 16 connections one is followed, and of its round trips one in 256 is noted: one in 13 s at 50 ms. */
#define FOLLOWED_MASK 15
#define NOTED_MASK 255
#define NO_RTT 0xffffffff

/* The compiler would join reads of two branches into one by a computed pointer, which the verifier refuses.
 */
#define READ(field)                                                                                          \
	({                                                                                                   \
		__u32 value = (field);                                                                       \
		asm volatile("" : "+r"(value));                                                              \
		value;                                                                                       \
	})

/* A single entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rtt_settings);
} rtt_settings SEC(".maps");

/* A single entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rtt_counters);
} rtt_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, RTT_SETS);
	__type(key, __u32);
	__type(value, struct rtt_set);
} rtt_sets SEC(".maps");

/* The socket of an IPv4 connection may be one of IPv6, with mapped addresses. */
static __always_inline void read_local(struct bpf_sock_ops *ctx, struct address *local)
{
	__u32 *words = (__u32 *)local->bytes;

	if (ctx->family == AF_INET6) {
		words[0] = READ(ctx->local_ip6[0]);
		words[1] = READ(ctx->local_ip6[1]);
		words[2] = READ(ctx->local_ip6[2]);
		words[3] = READ(ctx->local_ip6[3]);
		return;
	}
	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = READ(ctx->local_ip4);
}

static __always_inline __u64 read_client(struct bpf_sock_ops *ctx)
{
	__u32 first, second, third;

	if (ctx->family != AF_INET6)
		return RTT_KEY_USED | bpf_ntohl(READ(ctx->remote_ip4)) >> 8;
	first = bpf_ntohl(READ(ctx->remote_ip6[0]));
	second = bpf_ntohl(READ(ctx->remote_ip6[1]));
	third = bpf_ntohl(READ(ctx->remote_ip6[2]));
	if (!first && !second && third == 0xffff)
		return RTT_KEY_USED | bpf_ntohl(READ(ctx->remote_ip6[3])) >> 8;
	return RTT_KEY_USED | RTT_KEY_IPV6 | (__u64)first << 16 | second >> 16;
}

/* Is it a connection of this machine's VIPs? The machines of a lab share a kernel and its cgroups. */
static __always_inline bool is_ours(struct bpf_sock_ops *ctx, const struct rtt_settings *all)
{
	struct address local;

	if ((ctx->family != AF_INET && ctx->family != AF_INET6) ||
	    bpf_get_netns_cookie(ctx) != all->netns_cookie)
		return false;
	read_local(ctx, &local);
	return is_own_vip(&local);
}

static __always_inline void note(struct bpf_sock_ops *ctx, const struct rtt_settings *all,
				 struct rtt_counters *counted, __u32 microseconds)
{
	if (add_rtt(&rtt_sets, read_client(ctx), all->seed, microseconds ?: 1))
		__sync_fetch_and_add(&counted->taken, 1);
	else
		__sync_fetch_and_add(&counted->full, 1);
}

SEC("sockops")
int rtt(struct bpf_sock_ops *ctx)
{
	const struct rtt_settings *all;
	struct rtt_counters *counted;
	__u32 only = 0, least;
	bool opens = ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;

	/* What the answer means depends on the operation, and other programs may have given one: it is left
	 * alone. */
	if (!opens && (ctx->op != BPF_SOCK_OPS_RTT_CB || bpf_get_prandom_u32() & NOTED_MASK))
		return 1;
	all = bpf_map_lookup_elem(&rtt_settings, &only);
	counted = bpf_map_lookup_elem(&rtt_counters, &only);
	if (!all || !counted || !is_ours(ctx, all))
		return 1;
	least = ctx->srtt_us ? ctx->rtt_min : NO_RTT;
	if (least == NO_RTT)
		__sync_fetch_and_add(&counted->unknown, 1);
	else
		note(ctx, all, counted, least);
	if (opens && !(bpf_get_prandom_u32() & FOLLOWED_MASK))
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTT_CB_FLAG);
	return 1;
}
