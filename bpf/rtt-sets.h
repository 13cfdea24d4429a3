/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Round trips by client prefix (/24, /48), gathered until user space takes them, which empties their places
 * (each second). So nothing is evicted, and what finds no place is counted and lost, until the next reading.
 */
#ifndef PORTICO_RTT_SETS_H
#define PORTICO_RTT_SETS_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "mix-key.h"

#define RTT_KEY_USED (1ULL << 63)
#define RTT_KEY_IPV6 (1ULL << 48)
#define RTT_KEY_PROBE (1ULL << 60) /* the balancer's prober */

/* `sets`: a map of struct rtt_set. False: its set is full of others. A place is whose key stands there; two
 * CPUs may race for an empty one. */
static __always_inline bool add_rtt(void *sets, __u64 key, __u64 seed, __u32 microseconds)
{
	__u32 index = mix_key(key ^ seed) & (RTT_SETS - 1);
	struct rtt_set *set = bpf_map_lookup_elem(sets, &index);

	if (!set)
		return false;
#pragma unroll
	for (__u32 way = 0; way < RTT_WAYS; way++) {
		__u64 holder = *(volatile __u64 *)&set->key[way];
		__u32 at;

		if (!holder)
			holder = __sync_val_compare_and_swap(&set->key[way], 0, key);
		if (holder && holder != key)
			continue;
		at = __sync_fetch_and_add(&set->count[way], 1);
		set->sample[way * RTT_SAMPLES + (at & (RTT_SAMPLES - 1))] = microseconds;
		return true;
	}
	return false;
}

#endif
