/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The programs of this machine by role: one array, shared by root and balancer, pinned. */
#ifndef PORTICO_ROLES_H
#define PORTICO_ROLES_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, ROLE_COUNT);
	__type(key, __u32);
	__type(value, __u32);
} roles SEC(".maps");

#endif
