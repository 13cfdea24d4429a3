/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Who asks: queries by resolver, client subnet and answer, for what steering learns of resolvers. Queries for
 * A alone: who asks for more asks for that too, and a cache asks for each once in a TTL.
 */
#ifndef PORTICO_DNS_ASKERS_H
#define PORTICO_DNS_ASKERS_H

#include "dns-edns.h"
#include "dns-maps.h"

#define ASKER_FACTOR 0x9e3779b97f4a7c15ULL

static __always_inline __u64 asker_prefix(__u64 first, bool is_ipv6)
{
	return is_ipv6 ? (first & 0xffffffffffff) | 6ULL << DNS_ASKER_FAMILY_SHIFT
		       : (first & 0xffffff) | 4ULL << DNS_ASKER_FAMILY_SHIFT;
}

static __always_inline __u64 asker_subnet(const struct query *query)
{
	bool is_ipv6 = query->subnet_family == bpf_htons(FAMILY_IPV6);
	__u64 most = is_ipv6 ? 48 : 24;
	__u64 length = query->subnet_source;

	if (!query->has_subnet || !length)
		return 0;
	return asker_prefix(query->subnet[0], is_ipv6) | (length < most ? length : most)
							     << DNS_ASKER_LENGTH_SHIFT;
}

static __always_inline __u64 mix_asker(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * ASKER_FACTOR;
	return hash ^ hash >> 32;
}

/* What has no place is counted as that. CPUs may enter the same one twice; who reads adds them up. */
static __always_inline void count_asker(const struct query *query, const struct dns_settings *settings,
					struct dns_counters *own, __u32 row)
{
	__u64 resolver = asker_prefix(query->source[0], query->is_ipv6), subnet, tag;
	struct dns_asker_set *set;
	__u32 index;

	if (!settings->asker_mask || query->type)
		return;
	subnet = asker_subnet(query);
	row -= query->is_dnssec_ok;
	tag = mix_asker(mix_asker(mix_asker(settings->seed, resolver), subnet), row) | 1;
	index = tag >> 32 & settings->asker_mask;
	set = bpf_map_lookup_elem(&dns_askers, &index);
	if (!set)
		return;
#pragma unroll
	for (int way = 0; way < DNS_ASKER_WAYS; way++) {
		if (set->tag[way] == tag) {
			__sync_fetch_and_add(&set->queries[way], 1);
			return;
		}
	}
#pragma unroll
	for (int way = 0; way < DNS_ASKER_WAYS; way++) {
		if (set->tag[way] || __sync_val_compare_and_swap(&set->tag[way], 0, tag))
			continue;
		set->resolver[way] = resolver;
		set->subnet[way] = subnet;
		set->row[way] = row;
		__sync_fetch_and_add(&set->queries[way], 1);
		return;
	}
	own->unplaced_askers++;
}

#endif
