/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The connection table: a flow's entry lies in one of two buckets. All CPUs share it, so each write is one
 * compare-and-swap of the 64-bit word that was read.
 */
#ifndef PORTICO_CONNECTIONS_H
#define PORTICO_CONNECTIONS_H

#include "maps.h"

struct flow {
	__u32 first_bucket;
	__u32 second_bucket;
	__u64 fingerprint; /* 36 bits */
};

/* A place in the table and what was read there. */
struct entry {
	__u64 *place; /* NULL: none */
	__u64 word;
};

static __always_inline struct flow flow_of(__u64 h1, __u64 h2, __u32 generation, __u32 bucket_mask)
{
	__u64 salt = generation * 0x9E3779B97F4A7C15;
	struct flow flow = {
	    .first_bucket = (__u32)h2 & bucket_mask,
	    .second_bucket = (__u32)h1 & bucket_mask,
	    .fingerprint = h2 >> ENTRY_FINGERPRINT_SHIFT ^ salt >> ENTRY_FINGERPRINT_SHIFT,
	};

	if (flow.second_bucket == flow.first_bucket)
		flow.second_bucket ^= 1;
	return flow;
}

static __always_inline __u32 entry_backend(__u64 word)
{
	return word & 0xffff;
}

/* Ticks since the entry was touched, modulo 4096 (4.9 h). */
static __always_inline __u32 entry_age(__u64 word, __u32 now)
{
	return (now - (__u32)(word >> ENTRY_AGE_SHIFT)) & AGE_MASK;
}

static __always_inline __u64 make_entry(__u64 fingerprint, __u32 now, __u32 backend)
{
	return fingerprint << ENTRY_FINGERPRINT_SHIFT | (__u64)(now & AGE_MASK) << ENTRY_AGE_SHIFT | backend;
}

static __always_inline bool match_in(__u32 index, __u64 fingerprint, struct entry *found)
{
	struct bucket *bucket = bpf_map_lookup_elem(&connections, &index);

	if (!bucket)
		return false;
#pragma unroll
	for (int i = 0; i < BUCKET_ENTRIES; i++) {
		__u64 word = *(volatile __u64 *)&bucket->entry[i];

		if (word >> ENTRY_FINGERPRINT_SHIFT == fingerprint && word) {
			found->place = &bucket->entry[i];
			found->word = word;
			return true;
		}
	}
	return false;
}

/* The lowest entry of the flow: if two CPUs inserted it at the same time, all use the same one. */
static __always_inline struct entry find_entry(const struct flow *flow)
{
	struct entry found = {};

	if (!match_in(flow->first_bucket, flow->fingerprint, &found))
		match_in(flow->second_bucket, flow->fingerprint, &found);
	return found;
}

/* An empty place, else an expired one. */
static __always_inline bool free_in(__u32 index, __u32 now, __u32 lifetime_ticks, struct entry *found)
{
	struct bucket *bucket = bpf_map_lookup_elem(&connections, &index);

	if (!bucket)
		return false;
#pragma unroll
	for (int i = 0; i < BUCKET_ENTRIES; i++) {
		__u64 word = *(volatile __u64 *)&bucket->entry[i];

		if (!word) {
			found->place = &bucket->entry[i];
			found->word = 0;
			return true;
		}
		if (!found->place && entry_age(word, now) > lifetime_ticks) {
			found->place = &bucket->entry[i];
			found->word = word;
		}
	}
	return found->place;
}

/* Where a new flow may go; place is NULL if both buckets are full of live entries. */
static __always_inline struct entry find_room(const struct flow *flow, __u32 now, __u32 lifetime_ticks)
{
	struct entry found = {};

	if (!free_in(flow->first_bucket, now, lifetime_ticks, &found))
		free_in(flow->second_bucket, now, lifetime_ticks, &found);
	return found;
}

/* False: another CPU was first. */
static __always_inline bool write_entry(const struct entry *entry, __u64 word)
{
	return __sync_val_compare_and_swap(entry->place, entry->word, word) == entry->word;
}

/*
 * Keeps an entry from expiring. A SYN makes it new. Everything else makes it just not young: a SYN that meets
 * a young entry is taken for a retransmission, and a stray packet of a closed connection must not make the
 * next one look so. Lost races do not matter: whoever won touched it or took it over.
 */
static __always_inline void touch_entry(const struct entry *entry, __u32 now, bool is_syn)
{
	__u32 age = is_syn ? 0 : YOUNG_TICKS + 1;
	__u64 touched = (__u64)((now - age) & AGE_MASK) << ENTRY_AGE_SHIFT;

	if (entry_age(entry->word, now) > age)
		write_entry(entry, (entry->word & ~((__u64)AGE_MASK << ENTRY_AGE_SHIFT)) | touched);
}

#endif
