/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Time since boot in ns, a timer tick (1 to 10 ms) coarse. Tests set it by hand; in production that is dead
 * code. */
#ifndef PORTICO_CLOCK_H
#define PORTICO_CLOCK_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

const volatile __u32 use_test_clock = 0;
__u64 test_clock_ns SEC(".data") = 0;

static __always_inline __u64 clock_ns(void)
{
	if (use_test_clock)
		return *(volatile __u64 *)&test_clock_ns;
	return bpf_ktime_get_coarse_ns();
}

/* The same for the timer: programs of type syscall may not use the coarse clock. */
static __always_inline __u64 timer_clock_ns(void)
{
	if (use_test_clock)
		return *(volatile __u64 *)&test_clock_ns;
	return bpf_ktime_get_ns();
}

#endif
