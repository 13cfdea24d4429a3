/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What we compare with: the classic way, as balancers in wide use go it. Every flow has an entry in a
 * least-recently-used hash of this CPU, and every packet but a SYN asks for it; a flow without one is placed
 * by consistent hashing and entered. Parsing, services, hash, lookup table, encapsulation and counters are
 * ours, so that only the tracking differs.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "process.h"
#include "select.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct flow_key {
	__u8 source[16];
	__u8 destination[16];
	__u32 ports;
	__u32 protocol;
};

struct flow_entry {
	__u32 backend;
	__u32 zero;
	__u64 used_ns; /* UDP has no end: an entry is only good for so long */
};

#define UDP_LIFETIME_NS 30000000000ULL

struct flow_table {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct flow_key);
	__type(value, struct flow_entry);
};

/* By CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__array(values, struct flow_table);
} flow_tables SEC(".maps");

/* Globals bring the structs into the BTF, which the inner map's definition does not. */
const struct flow_key flow_key_type = {};
const struct flow_entry flow_entry_type = {};

static __always_inline void make_key(const struct packet *packet, struct flow_key *key)
{
	key->ports = packet->ports;
	key->protocol = packet->protocol;
	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if (packet->ip + IPV6_BYTES > packet_end(packet))
			return;
		copy_bytes_16(key->source, ip->source);
		copy_bytes_16(key->destination, ip->destination);
	} else {
		struct ipv4 *ip = packet->ip;

		if (packet->ip + IPV4_BYTES > packet_end(packet))
			return;
		*(__be32 *)key->source = ip->source;
		*(__be32 *)key->destination = ip->destination;
	}
}

static __always_inline __u32 tracked_backend(const struct packet *packet, void *table,
					     const struct flow_key *key)
{
	struct flow_entry *entry;
	__u64 now;

	if (packet->protocol == PROTOCOL_TCP && packet->tcp_flags & TCP_SYN)
		return 0;
	entry = bpf_map_lookup_elem(table, key);
	if (!entry)
		return 0;
	if (packet->protocol == PROTOCOL_UDP) {
		now = bpf_ktime_get_coarse_ns();
		if (now - entry->used_ns > UDP_LIFETIME_NS)
			return 0;
		entry->used_ns = now;
	}
	return entry->backend;
}

static __always_inline __u32 hashed_backend(const struct packet *packet, const struct settings *all,
					    const struct service *service)
{
	struct siphash state;
	__u64 *slot;
	__u32 index;
	void *table;

	hash_flow(packet, all, &state);
	index = (sip_first_half(&state) >> 32) * service->slots >> 32;
	table = bpf_map_lookup_elem(&slot_tables, &service->subject);
	slot = table ? bpf_map_lookup_elem(table, &index) : NULL;
	return slot ? *slot & INDEX_MASK : 0;
}

static __always_inline enum outcome choose(struct packet *packet, const struct settings *all,
					   const struct service *service, __u32 quic, struct choice *choice)
{
	__u32 cpu = bpf_get_smp_processor_id();
	void *table = bpf_map_lookup_elem(&flow_tables, &cpu);
	struct flow_entry entry = {};
	struct flow_key key = {};

	if (!table)
		return OUTCOME_NO_BACKEND;
	make_key(packet, &key);
	choice->backend = tracked_backend(packet, table, &key);
	if (choice->backend)
		return OUTCOME_TRACKED;
	choice->backend = hashed_backend(packet, all, service);
	if (!choice->backend)
		return OUTCOME_NO_BACKEND;
	entry.backend = choice->backend;
	if (packet->protocol == PROTOCOL_UDP)
		entry.used_ns = bpf_ktime_get_coarse_ns();
	bpf_map_update_elem(table, &key, &entry, BPF_ANY);
	return OUTCOME_NEW;
}

static __always_inline void hand_over_icmp(struct xdp_md *ctx)
{
}

static __always_inline void hand_over_answer(struct xdp_md *ctx)
{
}

static __always_inline void hand_over_fragment(struct xdp_md *ctx)
{
}

static __always_inline void hand_over_up(struct xdp_md *ctx)
{
}

static __always_inline void hand_over_relayed(struct xdp_md *ctx)
{
}

static __always_inline void hand_over_sending(struct xdp_md *ctx)
{
}

static __always_inline void hand_over_nat_reply(struct xdp_md *ctx)
{
}

SEC("xdp.frags")
int classic(struct xdp_md *ctx)
{
	return process_and_count(ctx);
}
