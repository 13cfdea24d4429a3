/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * How many flows a service tracked in this second (2^30 ns) and in the last lifetime (four periods of a
 * quarter each). A window is one word: its name (the number of the second or period) above, its count below;
 * the first packet of a new window renames the word by compare-and-swap. Counts are approximate to a few
 * packets when CPUs race: they are limits.
 */
#ifndef PORTICO_PRESSURE_H
#define PORTICO_PRESSURE_H

#include "maps.h"

#define PRESSURE_SECOND_SHIFT 30
#define PRESSURE_PERIODS 4

struct pressure_time {
	__u32 second;
	__u32 period;
};

static __always_inline struct pressure_time pressure_time(const struct service *service, __u64 clock)
{
	__u32 period_ticks = service->lifetime_ticks / PRESSURE_PERIODS;
	struct pressure_time time = {
	    .second = clock >> PRESSURE_SECOND_SHIFT,
	    .period = (__u32)(clock >> TICK_SHIFT) / (period_ticks ? period_ticks : 1),
	};

	return time;
}

static __always_inline __u32 window_name(__u64 window)
{
	return window >> 32;
}

/* May this service track one flow more? */
static __always_inline bool has_room(const struct pressure *pressure, const struct service *service,
				     struct pressure_time time)
{
	__u64 second = *(volatile __u64 *)&pressure->second;
	__u64 tracked = 0;

	if ((window_name(second) == time.second ? (__u32)second : 0) >= service->new_per_second)
		return false;
#pragma unroll
	for (int i = 0; i < PRESSURE_PERIODS; i++) {
		__u64 period = *(volatile __u64 *)&pressure->period[i];

		/* Without a branch: the verifier would go each of 16 ways. */
		tracked += (__u32)period &
			   (__s64)((__u64)(time.period - window_name(period)) - PRESSURE_PERIODS) >> 63;
	}
	return tracked < service->share_entries;
}

static __always_inline void count_in_window(__u64 *window, __u32 name)
{
	__u64 old = *(volatile __u64 *)window;
	__u64 first = (__u64)name << 32 | 1;

	if (window_name(old) != name && __sync_val_compare_and_swap(window, old, first) == old)
		return;
	__sync_fetch_and_add(window, 1); /* our window, or just renamed by another CPU */
}

static __always_inline void count_tracked(struct pressure *pressure, struct pressure_time time)
{
	count_in_window(&pressure->second, time.second);
	count_in_window(&pressure->period[time.period % PRESSURE_PERIODS], time.period);
}

#endif
