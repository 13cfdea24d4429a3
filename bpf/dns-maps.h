/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Maps of dns.bpf.c. All but the limits belong to one version of zones, map and settings: the control side
 * fills new ones, and exchanges them together with the program. Sizes are set when they are made.
 */
#ifndef PORTICO_DNS_MAPS_H
#define PORTICO_DNS_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
/* First of what has data, so that the clock of tests stands at its beginning. */
#include "clock.h"
#include "layout.h"

#define DNS_ARRAY(name, element)                                                                             \
	struct {                                                                                             \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                            \
		__uint(map_flags, BPF_F_MMAPABLE);                                                           \
		__uint(max_entries, 1);                                                                      \
		__type(key, __u32);                                                                          \
		__type(value, struct element);                                                               \
	} name SEC(".maps")

DNS_ARRAY(dns_settings, dns_settings);
DNS_ARRAY(dns_buckets, dns_bucket);
DNS_ARRAY(dns_names, dns_name);
DNS_ARRAY(dns_nodes, dns_node);
DNS_ARRAY(dns_choices, dns_choices);
DNS_ARRAY(dns_rows, dns_row);
DNS_ARRAY(dns_lines, dns_line);
/* By CPU. */
DNS_ARRAY(dns_counters, dns_counters);

struct dns_hits {
	__u64 hits;
};
/* Answers by CPU and row: [cpu * rows + row]. */
DNS_ARRAY(dns_hits, dns_hits);

DNS_ARRAY(dns_askers, dns_asker_set);

/* Shared with the process, and kept from one version to the next. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, DNS_LIMIT_LINES);
	__type(key, __u32);
	__type(value, struct dns_limit_line);
} dns_limits SEC(".maps");

#endif
