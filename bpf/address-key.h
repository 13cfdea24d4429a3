/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* A whole address as a key in a map of prefixes. */
#ifndef PORTICO_ADDRESS_KEY_H
#define PORTICO_ADDRESS_KEY_H

#include "layout.h"

static __always_inline void make_address_key(struct address_prefix *key, const void *address)
{
	key->bits = 128;
	__builtin_memcpy(key->address, address, sizeof(key->address));
}

#endif
