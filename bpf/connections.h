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

static __always_inline __u64 fingerprint_of(__u64 h2, __u32 salt, __u32 generation)
{
	__u64 mix = ((__u64)salt << 16 | generation) * 0x9E3779B97F4A7C15;

	return (h2 ^ mix) >> ENTRY_FINGERPRINT_SHIFT;
}

/*
 * Of the half of the hash that is there first, so that the bucket can be fetched while the other is made.
 * Earlier versions had the two the other way round: an entry of theirs lies in one of the same two.
 */
static __always_inline __u32 first_bucket_of(__u64 h1, __u32 bucket_mask)
{
	return (__u32)h1 & bucket_mask;
}

static __always_inline __u32 second_bucket_of(__u64 h2, __u32 first_bucket, __u32 bucket_mask)
{
	__u32 bucket = (__u32)h2 & bucket_mask;

	return bucket == first_bucket ? bucket ^ 1 : bucket;
}

static __always_inline struct bucket *find_bucket(__u32 index)
{
	return bpf_map_lookup_elem(&connections, &index);
}

/*
 * The first bucket is a miss in cache and TLB, most of what a packet costs where a million flows are tracked.
 * Asked for before anything else it is underway together with the slot, on which the processor guesses, and
 * while the rest of the hash is made and the clock is read.
 */
static __always_inline void fetch_early(__u32 bucket_index)
{
	struct bucket *bucket = find_bucket(bucket_index);

	if (bucket)
		(void)*(volatile __u64 *)&bucket->entry[0];
}

static __always_inline __u32 entry_backend(__u64 word)
{
	return word & INDEX_MASK;
}

/*
 * Ticks since the entry was touched, modulo 4096 (4.9 h). One from the future is another CPU's, whose clock
 * is up to a jiffy ahead. (No entry really gets as old: the sweeper was there.)
 */
static __always_inline __u32 entry_age(__u64 word, __u32 now)
{
	__u32 age = (now - (__u32)(word >> ENTRY_AGE_SHIFT)) & AGE_MASK;

	return age & ((age + 1) / (AGE_MASK + 1) - 1); /* without a branch, as in lowest_bit */
}

static __always_inline __u64 make_entry(__u64 fingerprint, __u32 now, __u32 state, __u32 backend)
{
	return fingerprint << ENTRY_FINGERPRINT_SHIFT | (__u64)(now & AGE_MASK) << ENTRY_AGE_SHIFT |
	       state << ENTRY_STATE_SHIFT | backend;
}

static __always_inline __u32 entry_state(__u64 word)
{
	return word >> ENTRY_STATE_SHIFT & 0xf;
}

/* The age above which an entry is expired. */
static __always_inline __u32 entry_limit(__u64 word, __u32 lifetime_ticks)
{
	__u32 state = entry_state(word), phase = state & STATE_PHASE;

	if (phase == STATE_OPENING)
		return OPENING_TICKS;
	if (phase == STATE_CLOSING)
		return CLOSING_TICKS;
	return state & STATE_ENDED && lifetime_ticks > ENDED_TICKS ? ENDED_TICKS : lifetime_ticks;
}

/*
 * The number of the lowest bit that is set, of 8. A product with 00010111 has other upper three bits for each
 * of the eight, by which the numbers are packed. What is written with comparisons the compiler makes branches
 * of, and the verifier eight ways.
 */
static __always_inline __u32 lowest_bit(__u32 bits)
{
	return 0x56374210 >> ((bits & -bits) * 0x17 >> 3 & 0x1c) & (BUCKET_ENTRIES - 1);
}

/*
 * The lowest entry of the flow in a bucket. All eight are compared and the index is computed from the
 * results, without a branch: the place of an entry cannot be predicted, and the verifier sees one way instead
 * of eight.
 */
static __always_inline struct entry match_in(struct bucket *bucket, __u64 fingerprint)
{
	struct entry found = {};
	__u32 matches = 0;

#pragma unroll
	for (int i = 0; i < BUCKET_ENTRIES; i++) {
		__u64 word = *(volatile __u64 *)&bucket->entry[i];

		/* Only a difference of 0 has an upper bit after 1 is taken from it: fingerprints have 36
		 * bits. */
		matches |= ((word >> ENTRY_FINGERPRINT_SHIFT ^ fingerprint) - 1) >> 63 << i;
	}
	if (!matches)
		return found;
	found.place = &bucket->entry[lowest_bit(matches)];
	found.word = *(volatile __u64 *)found.place;
	/* Another CPU may have changed it meanwhile. And an empty place is no entry of fingerprint 0. */
	if (found.word >> ENTRY_FINGERPRINT_SHIFT != fingerprint || !found.word)
		found.place = NULL;
	return found;
}

/* The lowest entry of the flow: if two CPUs inserted it at the same time, all use the same one. */
static __always_inline struct entry find_entry(const struct flow *flow)
{
	struct bucket *bucket = find_bucket(flow->first_bucket);
	struct entry found = {};

	if (bucket)
		found = match_in(bucket, flow->fingerprint);
	if (found.place)
		return found;
	bucket = find_bucket(flow->second_bucket);
	if (bucket)
		found = match_in(bucket, flow->fingerprint);
	return found;
}

/* A bit for each empty place; without a branch, as above. */
static __always_inline __u32 empty_places(struct bucket *bucket)
{
	__u32 empty = 0;

#pragma unroll
	for (int i = 0; i < BUCKET_ENTRIES; i++) {
		__u64 word = *(volatile __u64 *)&bucket->entry[i];

		empty |= (__u32)(((word - 1) & ~word) >> 63) << i; /* 1 for 0 alone */
	}
	return empty;
}

/* Gives the word of the first expired entry, and `found` its number; 0: there is none. */
static __always_inline __u64 find_expired(struct bucket *bucket, __u32 now, __u32 reclaim_ticks, __u32 *found)
{
	for (int i = 0; i < BUCKET_ENTRIES; i++) {
		__u64 word = *(volatile __u64 *)&bucket->entry[i];

		if (word && entry_age(word, now) > entry_limit(word, reclaim_ticks)) {
			*found = i;
			return word;
		}
	}
	return 0;
}

static __always_inline struct entry take_expired(struct bucket *bucket, __u32 now, __u32 reclaim_ticks)
{
	__u32 index = 0;
	struct entry found = {.word = find_expired(bucket, now, reclaim_ticks, &index)};

	if (found.word)
		found.place = &bucket->entry[index & (BUCKET_ENTRIES - 1)];
	return found;
}

/* Buckets fill from below: one with an empty place among these has room. */
#define ROOM_ENOUGH 0x3f

/*
 * Where a new flow may go; place is NULL if both buckets are full of live entries, of whatever service, or
 * full, if expired ones are not looked for. A
 * flow is found faster in its first bucket; but were that filled to the brim before the second is looked at,
 * one flow in 6,400 would find none by the time that the table is half full. So 4 in 100 go to the second.
 */
static __always_inline struct entry find_room(const struct flow *flow, __u32 now, __u32 reclaim_ticks,
					      bool may_expire)
{
	struct bucket *first = find_bucket(flow->first_bucket), *second = find_bucket(flow->second_bucket);
	struct bucket *bucket = first;
	struct entry found = {};
	__u32 empty, other;

	if (!first || !second)
		return found;
	empty = empty_places(first);
	if (!(empty & ROOM_ENOUGH)) {
		other = empty_places(second);
		if (other && (!empty || (other & -other) < (empty & -empty))) {
			bucket = second;
			empty = other;
		}
	}
	if (empty) {
		found.place = &bucket->entry[lowest_bit(empty)];
		return found;
	}
	if (!may_expire)
		return found;
	found = take_expired(first, now, reclaim_ticks);
	return found.place ? found : take_expired(second, now, reclaim_ticks);
}

/* False: another CPU was first. */
static __always_inline bool write_entry(const struct entry *entry, __u64 word)
{
	return __sync_val_compare_and_swap(entry->place, entry->word, word) == entry->word;
}

/* The backend of a counted entry has one connection more (1) or less (-1). */
static __always_inline void count_active(__u64 word, __s64 change)
{
	__u32 index = entry_backend(word);
	__s64 *active;

	if (!(entry_state(word) & STATE_COUNTED))
		return;
	active = bpf_map_lookup_elem(&active_connections, &index);
	if (active)
		__sync_fetch_and_add(active, change);
}

/* `write_entry` where an entry begins, ends or is another flow's from now on: whoever wins the word counts,
 * so the count of a backend is the number of its counted entries. */
static __always_inline bool exchange_entry(const struct entry *entry, __u64 word)
{
	if (!write_entry(entry, word))
		return false;
	count_active(entry->word, -1);
	count_active(word, 1);
	return true;
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
