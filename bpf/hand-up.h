/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the program does not do itself is handed up to the slow path. */
#ifndef PORTICO_HAND_UP_H
#define PORTICO_HAND_UP_H

#include "forward.h"
#include "packet.h"

/* It does not fit and may be fragmented. There is no slow path yet: it is dropped, and counted as what it is.
 */
static __always_inline void hand_up(struct packet *packet, const struct service *service,
				    const struct choice *choice)
{
}

#endif
