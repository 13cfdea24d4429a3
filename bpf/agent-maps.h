/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The maps of backend.bpf.c. Addresses are IPv4-mapped. */
#ifndef PORTICO_AGENT_MAPS_H
#define PORTICO_AGENT_MAPS_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "agent-vips.h"
#include "layout.h"

/* Outer sources that packets are accepted from: the site's balancers and backends. Up to two addresses each.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4 * MAX_BACKENDS);
	__type(key, struct address);
	__type(value, __u32);
} agent_members SEC(".maps");

/* The same where some balancers vary their source in a prefix: their prefixes, and all addresses as prefixes
 * of 128 bits. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4 * MAX_BACKENDS);
	__type(key, struct address_prefix);
	__type(value, __u32);
} agent_prefixes SEC(".maps");

/* By backend index: where to send what may be another backend's. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_BACKENDS);
	__type(key, __u32);
	__type(value, struct member);
} agent_candidates SEC(".maps");

/* The ports of VIPs whose UDP is QUIC. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4 * MAX_SUBJECTS);
	__type(key, struct agent_port);
	__type(value, struct agent_quic);
} agent_quic SEC(".maps");

/* The same of VIPs that are prefixes. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4 * MAX_VIP_PREFIXES);
	__type(key, struct agent_port_prefix);
	__type(value, struct agent_quic);
} agent_quic_prefixes SEC(".maps");

/* By CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct agent_counters);
} agent_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct agent_settings);
} agent_settings SEC(".maps");

static __always_inline const struct agent_settings *find_agent_settings(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&agent_settings, &only);
}

static __always_inline bool is_same_address(const void *a, const void *b)
{
	const __u64 *left = a, *right = b;

	return left[0] == right[0] && left[1] == right[1];
}

/* An address of this machine that others encapsulate to. Ones that it does not have are zero in the settings.
 */
static __always_inline bool is_own_address(const struct address *address)
{
	const struct agent_settings *own = find_agent_settings();

	return own && (is_same_address(address, own->address4) || is_same_address(address, own->address6)) &&
	       ((__u64 *)address)[1];
}

/* May this source send encapsulated packets here? One lookup in either case. */
static __always_inline bool is_member(const struct address *source)
{
	const struct agent_settings *own = find_agent_settings();
	struct address_prefix prefix;

	if (!own || !own->has_prefixes)
		return bpf_map_lookup_elem(&agent_members, source);
	make_address_key(&prefix, source);
	return bpf_map_lookup_elem(&agent_prefixes, &prefix);
}

#endif
