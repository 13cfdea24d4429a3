/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * On the backend, on what leaves: the greatest segment that a SYN from a VIP announces is lowered so that the
 * client's packets fit after the balancer has encapsulated them. Applications and their sockets know nothing
 * of it. Runs as a classifier of clsact (egress); it decides nothing else about a packet.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "agent-vips.h"
#include "packet.h"
#include "wire.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_MSS_BYTES 4
#define MAX_OPTIONS 10 /* looked at; our own stack begins with the MSS */

/* A single entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clamp_settings);
} clamp_settings SEC(".maps");

/* By CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clamp_counters);
} clamp_counters SEC(".maps");

/* Where the TCP header of a SYN is; 0: it is none. Read in place, as nearly every packet that leaves is none;
 * one whose headers are not there is not either: a SYN is made in one piece. */
static __always_inline __u32 find_syn(const struct __sk_buff *skb, struct address *source)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	void *ip = data + ETHERNET_BYTES;
	__u32 at = ETHERNET_BYTES;
	struct tcp *tcp;

	if (skb->protocol == bpf_htons(ETHERTYPE_IPV4)) {
		struct ipv4 *header = ip;

		if (ip + IPV4_BYTES > end || header->protocol != PROTOCOL_TCP)
			return 0;
		at += (header->version_ihl & 0xf) * 4;
		map_ipv4(source, header->source);
	} else if (skb->protocol == bpf_htons(ETHERTYPE_IPV6)) {
		struct ipv6 *header = ip;

		if (ip + IPV6_BYTES > end || header->next_header != PROTOCOL_TCP)
			return 0;
		at += IPV6_BYTES;
		__builtin_memcpy(source->bytes, header->source, sizeof(source->bytes));
	} else {
		return 0;
	}
	tcp = data + at;
	return (void *)(tcp + 1) <= end && tcp->flags & TCP_SYN ? at : 0;
}

/* Offset of the value of the MSS option; 0: there is none. */
static __always_inline __u32 find_mss(struct __sk_buff *skb, __u32 tcp, __u32 header_bytes)
{
	__u32 at = TCP_BYTES;

	for (int i = 0; i < MAX_OPTIONS; i++) {
		__u8 option[2];

		if (at + OPTION_MSS_BYTES > header_bytes ||
		    bpf_skb_load_bytes(skb, tcp + at, option, sizeof(option)) || option[0] == OPTION_END)
			return 0;
		if (option[0] == OPTION_NOP) {
			at++;
			continue;
		}
		if (option[0] == OPTION_MSS)
			return option[1] == OPTION_MSS_BYTES ? tcp + at + 2 : 0;
		if (option[1] < 2)
			return 0;
		at += option[1];
	}
	return 0;
}

static __always_inline void clamp_mss(struct __sk_buff *skb, __u32 tcp, __u32 limit,
				      struct clamp_counters *own)
{
	__be16 announced, lower = bpf_htons(limit);
	__u8 words; /* of the header, in the upper 4 bits */
	__u32 at;

	if (!limit || bpf_skb_load_bytes(skb, tcp + 12, &words, sizeof(words)))
		return;
	at = find_mss(skb, tcp, (words >> 4) * 4);
	if (!at || bpf_skb_load_bytes(skb, at, &announced, sizeof(announced)))
		return;
	if (bpf_ntohs(announced) <= limit) {
		own->fit++;
		return;
	}
	if (bpf_l4_csum_replace(skb, tcp + 16, announced, lower, sizeof(lower)) ||
	    bpf_skb_store_bytes(skb, at, &lower, sizeof(lower), 0))
		own->failed++;
	else
		own->lowered++;
}

SEC("tc")
int clamp(struct __sk_buff *skb)
{
	const struct clamp_settings *all;
	struct clamp_counters *own;
	struct address source;
	__u32 only = 0, cpu, tcp = find_syn(skb, &source);

	if (!tcp || !is_own_vip(&source))
		return TC_ACT_UNSPEC; /* to whatever else is attached, always */
	cpu = bpf_get_smp_processor_id();
	all = bpf_map_lookup_elem(&clamp_settings, &only);
	own = bpf_map_lookup_elem(&clamp_counters, &cpu);
	if (all && own)
		clamp_mss(skb, tcp,
			  skb->protocol == bpf_htons(ETHERTYPE_IPV6) ? all->mss_ipv6 : all->mss_ipv4, own);
	return TC_ACT_UNSPEC;
}
