/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What each CPU looked up last in `vips` (or `vip_prefixes`) and `services`, in two small direct-mapped
 * tables. A lookup in a hash map is a call of some 26 ns, and a packet needs two; here the answer costs 3 ns
 * each. User space raises settings.generation after each change of one of the maps, which makes everything in
 * here old.
 */
#ifndef PORTICO_RECENT_H
#define PORTICO_RECENT_H

#include "address-key.h"
#include "maps.h"
#include "packet.h"

#define RECENT_SHIFT 6
#define RECENT_COUNT (1 << RECENT_SHIFT)

struct recent_vip {
	__u64 address[2];
	__u32 generation;
	__u32 subject; /* 0: the address is no VIP */
	__u32 flags;
	__u32 zero;
};

struct recent_service {
	__u64 key; /* struct service_key as it lies */
	__u32 generation;
	__u32 until_packet;     /* demand.h, as what stands behind the service */
	struct service service; /* subject 0: there is none */
	__u32 until_flow;
	__u32 step;
	__u32 window;
	__u32 in_window;
};

struct recent {
	struct recent_vip vip[RECENT_COUNT];
	struct recent_service service[RECENT_COUNT];
	struct address_prefix asked; /* key of a lookup: the stack has no room for it */
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct recent);
} recent_lookups SEC(".maps");

static __always_inline struct recent *find_recent(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&recent_lookups, &only);
}

/* The place of a key; any bits may differ between keys that are used together, so all of them count. */
static __always_inline __u32 recent_place(__u64 key)
{
	return key * 0x9E3779B97F4A7C15 >> (64 - RECENT_SHIFT);
}

/* Where few addresses end: 2 ns where there are no prefixes. NULL: it is in none. */
static __always_inline struct vip *find_vip_prefix(struct recent *recent, const __u64 *address)
{
	const struct settings *all = find_settings();

	if (!all || !all->vip_prefixes)
		return NULL;
	make_address_key(&recent->asked, address);
	return RARE(bpf_map_lookup_elem(&vip_prefixes, &recent->asked));
}

static __always_inline struct vip find_vip_of(struct recent *recent, const __u64 *address, __u32 generation)
{
	struct recent_vip *place = &recent->vip[recent_place(address[0] ^ address[1])];
	struct vip *found;

	if (place->address[0] != address[0] || place->address[1] != address[1] ||
	    place->generation != generation) {
		found = bpf_map_lookup_elem(&vips, address);
		if (!found)
			found = find_vip_prefix(recent, address);
		place->address[0] = address[0];
		place->address[1] = address[1];
		place->generation = generation;
		place->subject = found ? found->subject : 0;
		place->flags = found ? found->flags : 0;
	}
	return (struct vip){.subject = place->subject, .flags = place->flags};
}

/* NULL: none. */
static __always_inline const struct service *find_service_of(struct recent *recent, struct service_key *key,
							     __u32 generation)
{
	__u64 whole = *(__u64 *)key;
	struct recent_service *place = &recent->service[recent_place(whole)];
	struct service *found;

	if (place->key != whole || place->generation != generation) {
		found = bpf_map_lookup_elem(&services, key);
		if (!found) {
			key->port = 0;
			found = bpf_map_lookup_elem(&services, key);
		}
		place->key = whole;
		place->generation = generation;
		if (found)
			place->service = *found;
		else
			place->service.subject = 0;
	}
	return place->service.subject ? &place->service : NULL;
}

#endif
