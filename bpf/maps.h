/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The maps of balancer.bpf.c. Sizes that depend on the site are set by the loader; those here suffice to
 * load. */
#ifndef PORTICO_MAPS_H
#define PORTICO_MAPS_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

/* Destination address, IPv4-mapped: is it ours at all? The only lookup that other traffic costs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, struct address);
	__type(value, struct vip);
} vips SEC(".maps");

/* VIPs that are prefixes, asked for addresses that are not in `vips`: of several that contain one, the
 * longest. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_VIP_PREFIXES);
	__type(key, struct address_prefix);
	__type(value, struct vip);
} vip_prefixes SEC(".maps");

/* VIP, port (or 0 for any) and protocol. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, struct service_key);
	__type(value, struct service);
} services SEC(".maps");

struct slot_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
};

/* By the service's subject: its lookup table, one word a slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, __u32);
	__array(values, struct slot_table);
} slot_tables SEC(".maps");

/* The connection table: a power of two of buckets, at least 2. Shared by all CPUs and all services. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct bucket);
} connections SEC(".maps");

struct pick_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, MAX_PICKS);
	__type(key, __u32);
	__type(value, __u64);
};

/* By the service's subject, of round robin only: backend indices in the order of their turns. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, __u32);
	__array(values, struct pick_table);
} pick_tables SEC(".maps");

/* By backend index: connections of services by least-connections. Below 0 for a moment where a CPU takes one
 * away before another has added it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_BACKENDS);
	__type(key, __u32);
	__type(value, __s64);
} active_connections SEC(".maps");

/* By backend index. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_BACKENDS);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

/* By subject * cpus + cpu. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

/* Which backend of a service a QUIC connection ID names. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SERVER_ID_BUCKETS);
	__type(key, __u32);
	__type(value, struct server_ids);
} server_ids SEC(".maps");

/* By the service's subject: how much of the connection table it is using up, and the end of its adoption
 * time. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, __u32);
	__type(value, struct pressure);
} pressures SEC(".maps");

/* By a keyed hash of the prefix: a power of two of sets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct prefix_set);
} prefixes SEC(".maps");

/* By a hash of prefix and service: a power of two of sets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, DEMAND_SETS);
	__type(key, __u32);
	__type(value, struct demand_set);
} demand_sets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, __u32);
	__type(value, struct demand_rest);
} demand_rests SEC(".maps");

/* By CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

/* Flows of services with SERVICE_HANDSHAKES whose SYN was seen: by a hash of the flow. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HANDSHAKES);
	__type(key, __u32);
	__type(value, struct handshake);
} handshakes SEC(".maps");

/* And what came of them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, RTT_SETS);
	__type(key, __u32);
	__type(value, struct rtt_set);
} handshake_rtts SEC(".maps");

/* A single entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rtt_counters);
} handshake_counters SEC(".maps");

/* Source address of the prober -> backend index that its packets go to. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_BACKENDS);
	__type(key, struct address);
	__type(value, __u32);
} probe_sources SEC(".maps");

/* Who answers behind nat, and for which VIP. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_NAT_REPLIES);
	__type(key, struct nat_source);
	__type(value, struct nat_reply);
} nat_replies SEC(".maps");

/* Flows of services with SERVICE_NAT_TUPLES. Full: the least recently used goes, and its replies seem to come
 * from the VIP that `nat_replies` says. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_NAT_TUPLES);
	__type(key, struct nat_tuple);
	__type(value, struct nat_reply);
} nat_tuples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* By a hash of source, destination and protocol: index of the balancer that owns such fragments; 0: this one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, OWNER_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} fragment_owners SEC(".maps");

/* How fragments are sent to the site's other balancers, by their index. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_BALANCERS);
	__type(key, __u32);
	__type(value, struct backend);
} balancers SEC(".maps");

/* Outer sources that fragments are accepted from: those balancers'. Up to two addresses each. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * MAX_BALANCERS);
	__type(key, struct address);
	__type(value, __u32);
} balancer_sources SEC(".maps");

/* Where the first fragments of datagrams went. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FRAGMENT_BUCKETS);
	__type(key, __u32);
	__type(value, struct fragment_bucket);
} fragments SEC(".maps");

/* By region of the client's prefix: clock >> FINE_SHIFT in the upper 32 bits, bytes handed up in it below. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FRAGMENT_REGIONS);
	__type(key, __u32);
	__type(value, __u64);
} hand_up_windows SEC(".maps");

static __always_inline const struct settings *find_settings(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&settings, &only);
}

static __always_inline const struct backend *find_backend(__u32 index)
{
	return bpf_map_lookup_elem(&backends, &index);
}

/* Index 0 is "none" and never alive. */
static __always_inline bool is_alive(__u32 index)
{
	const struct backend *backend = find_backend(index);

	return index && backend && backend->flags & BACKEND_ALIVE;
}

#endif
