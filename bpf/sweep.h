/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Ages have 12 bits, so an entry that nobody asks for would look young again after 4.9 hours. A kernel timer,
 * which runs whether or not the process does, clears what is expired: 64 times a second a small piece of the
 * table (512 buckets of 2 million), so the whole table in 64 s. So long the count of a backend's active
 * connections may include one that has expired.
 */
#ifndef PORTICO_SWEEP_H
#define PORTICO_SWEEP_H

#include "clock.h"
#include "connections.h"

/* The longest lifetime that a service can have (3.6 h). */
#define SWEEP_AGE_TICKS 3000
#define SWEEP_PERIOD_NS (1000000000ULL / 64)
#define SWEEP_PERIODS_SHIFT 12 /* 4,096 pieces of 1/64 s */
#define CLOCK_MONOTONIC 1

struct sweeper {
	struct bpf_timer timer;
	__u32 position; /* next bucket */
	__u32 zero;
	__u64 cleared; /* entries, since the start */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sweeper);
} sweeper SEC(".maps");

struct sweep {
	__u32 position;
	__u32 mask;
	__u32 now; /* in ticks */
	__u32 reclaim_ticks;
	__u32 cleared;
};

static int sweep_bucket(__u32 step, struct sweep *sweep)
{
	__u32 index = (sweep->position + step) & sweep->mask;
	struct bucket *bucket = bpf_map_lookup_elem(&connections, &index);

	if (!bucket)
		return 1;
	for (int i = 0; i < BUCKET_ENTRIES; i++) {
		struct entry entry = {.place = &bucket->entry[i]};

		entry.word = *(volatile __u64 *)entry.place;
		if (entry.word &&
		    entry_age(entry.word, sweep->now) > entry_limit(entry.word, sweep->reclaim_ticks) &&
		    exchange_entry(&entry, 0))
			sweep->cleared++;
	}
	return 0;
}

static int sweep_piece(void *map, __u32 *key, struct sweeper *state)
{
	const struct settings *all = find_settings();
	struct sweep sweep = {.position = state->position, .now = timer_clock_ns() >> TICK_SHIFT};
	__u32 buckets;

	if (all) {
		sweep.mask = all->bucket_mask;
		sweep.reclaim_ticks = all->reclaim_ticks ?: SWEEP_AGE_TICKS;
		buckets = (sweep.mask >> SWEEP_PERIODS_SHIFT) + 1;
		bpf_loop(buckets, sweep_bucket, &sweep, 0);
		state->position += buckets;
		state->cleared += sweep.cleared;
	}
	bpf_timer_start(&state->timer, SWEEP_PERIOD_NS, 0);
	return 0;
}

#endif
