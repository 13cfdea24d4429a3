/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Time since boot in ns, a jiffy (1 to 10 ms) coarse. Tests set it by hand; in production that is dead code.
 */
#ifndef PORTICO_CLOCK_H
#define PORTICO_CLOCK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

const volatile __u32 use_test_clock = 0;
__u64 test_clock_ns SEC(".data") = 0;

/*
 * Reading the clock is a call of 17 ns, reading jiffies is one load. The coarse clock only moves when jiffies
 * do, so each CPU reads it once a jiffy; CPUs differ by one jiffy at most.
 */
struct clock_reading {
	__u64 jiffies;
	__u64 ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clock_reading);
} clock_readings SEC(".maps");

static __always_inline __u64 clock_ns(void)
{
	struct clock_reading *last;
	__u32 only = 0;
	__u64 jiffies;

	if (use_test_clock)
		return *(volatile __u64 *)&test_clock_ns;
	last = bpf_map_lookup_elem(&clock_readings, &only);
	if (!last)
		return 0; /* never */
	jiffies = bpf_jiffies64();
	if (last->jiffies != jiffies) {
		last->ns = bpf_ktime_get_coarse_ns();
		last->jiffies = jiffies;
	}
	return last->ns;
}

/* The same for the timer: programs of type syscall may not use the coarse clock. */
static __always_inline __u64 timer_clock_ns(void)
{
	if (use_test_clock)
		return *(volatile __u64 *)&test_clock_ns;
	return bpf_ktime_get_ns();
}

#endif
