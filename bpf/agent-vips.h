/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The VIPs of a backend machine: shared by what comes in (backend.bpf.c) and what leaves (clamp.bpf.c). */
#ifndef PORTICO_AGENT_VIPS_H
#define PORTICO_AGENT_VIPS_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "address-key.h"
#include "layout.h"

/* The VIPs that this machine serves, IPv4-mapped. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, struct address);
	__type(value, __u32);
} agent_vips SEC(".maps");

/* Prefixes that it serves. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_VIP_PREFIXES);
	__type(key, struct address_prefix);
	__type(value, __u32);
} agent_vip_prefixes SEC(".maps");

static __always_inline bool is_own_vip(const struct address *address)
{
	struct address_prefix prefix;

	if (bpf_map_lookup_elem(&agent_vips, address))
		return true;
	make_address_key(&prefix, address);
	return bpf_map_lookup_elem(&agent_vip_prefixes, &prefix);
}

#endif
