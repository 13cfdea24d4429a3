/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The VIPs of a backend machine: shared by what comes in (backend.bpf.c) and what leaves (clamp.bpf.c). */
#ifndef PORTICO_AGENT_VIPS_H
#define PORTICO_AGENT_VIPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

/* The VIPs that this machine serves. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SUBJECTS);
	__type(key, struct address);
	__type(value, __u32);
} agent_vips SEC(".maps");

#endif
