/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Ages have 12 bits, so an entry that nobody asks for would look young again after 4.9 hours. A kernel timer,
 * which runs whether or not the process does, clears entries long before: 16 times a second a small piece of
 * the table (128 buckets of 2 million, about 10 us), so the whole table in 17 minutes.
 */
#ifndef PORTICO_SWEEP_H
#define PORTICO_SWEEP_H

#include "clock.h"
#include "connections.h"

/* The longest lifetime that a service can have (3.6 h). */
#define SWEEP_AGE_TICKS 3000
#define SWEEP_PERIOD_NS (1000000000ULL / 16)
#define SWEEP_PERIODS_SHIFT 14 /* 16,384 pieces of 1/16 s: 17 minutes */
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
		if (entry.word && entry_age(entry.word, sweep->now) > SWEEP_AGE_TICKS &&
		    write_entry(&entry, 0))
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
		buckets = (sweep.mask >> SWEEP_PERIODS_SHIFT) + 1;
		bpf_loop(buckets, sweep_bucket, &sweep, 0);
		state->position += buckets;
		state->cleared += sweep.cleared;
	}
	bpf_timer_start(&state->timer, SWEEP_PERIOD_NS, 0);
	return 0;
}

#endif
