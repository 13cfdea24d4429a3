/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef PORTICO_MIX_KEY_H
#define PORTICO_MIX_KEY_H

#include <linux/types.h>

/* The finaliser of splitmix64 (Steele, Lea and Flood, 2014). */
static __always_inline __u64 mix_key(__u64 key)
{
	key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9ULL;
	key = (key ^ key >> 27) * 0x94d049bb133111ebULL;
	return key ^ key >> 31;
}

#endif
