/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What time it is for limits and cookies: Unix time, as the process has it. */
#ifndef PORTICO_DNS_TIME_H
#define PORTICO_DNS_TIME_H

#include <stdbool.h>
#include "clock.h"
#include "dns-maps.h"

struct dns_time {
	__u64 jiffies;
	__u32 ticks;   /* DNS_TICKS_PER_MS of Unix time, wrapping */
	__u32 seconds; /* of Unix time */
	__u64 is_alive;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dns_time);
} dns_times SEC(".maps");

#define NS_PER_MS 1000000

static __always_inline void read_dns_time(struct dns_time *time, const struct dns_settings *settings,
					  __u64 ns)
{
	__u64 unix_ms = (ns + settings->unix_offset_ns) / NS_PER_MS;

	time->ticks = unix_ms * DNS_TICKS_PER_MS;
	time->seconds = unix_ms / 1000;
	time->is_alive = ns < settings->alive_until_ns;
}

/* Anew with each jiffy: divisions and the clock cost 20 ns. */
static __always_inline const struct dns_time *dns_time(const struct dns_settings *settings)
{
	struct dns_time *last;
	__u32 only = 0;
	__u64 jiffies;

	last = bpf_map_lookup_elem(&dns_times, &only);
	if (!last)
		return NULL; /* never */
	jiffies = bpf_jiffies64();
	if (use_test_clock) {
		read_dns_time(last, settings, *(volatile __u64 *)&test_clock_ns);
	} else if (last->jiffies != jiffies) {
		read_dns_time(last, settings, bpf_ktime_get_coarse_ns());
		last->jiffies = jiffies;
	}
	return last;
}

#endif
