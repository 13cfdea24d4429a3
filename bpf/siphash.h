/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF") with 128 bits of output, over what
 * names a flow. The halves are computed one at a time: settled slots need the first only.
 */
#ifndef PORTICO_SIPHASH_H
#define PORTICO_SIPHASH_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct siphash {
	__u64 v0, v1, v2, v3;
};

#define ROTATE_LEFT(value, bits) ((value) << (bits) | (value) >> (64 - (bits)))

static __always_inline void sip_round(struct siphash *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = ROTATE_LEFT(s->v1, 13) ^ s->v0;
	s->v3 = ROTATE_LEFT(s->v3, 16) ^ s->v2;
	s->v0 = ROTATE_LEFT(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = ROTATE_LEFT(s->v1, 17) ^ s->v2;
	s->v3 = ROTATE_LEFT(s->v3, 21) ^ s->v0;
	s->v2 = ROTATE_LEFT(s->v2, 32);
}

static __always_inline void sip_start(struct siphash *s, const __u64 *key)
{
	s->v0 = key[0] ^ 0x736f6d6570736575;
	s->v1 = key[1] ^ 0x646f72616e646f6d ^ 0xee; /* 0xee: 128 bits of output */
	s->v2 = key[0] ^ 0x6c7967656e657261;
	s->v3 = key[1] ^ 0x7465646279746573;
}

/* One word of the message, little-endian as the paper has it: on the machines that we run on, as it lies in
 * memory. */
static __always_inline void sip_word(struct siphash *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

static __always_inline __u64 sip_finish(struct siphash *s)
{
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static __always_inline __u64 sip_first_half(struct siphash *s)
{
	s->v2 ^= 0xee;
	return sip_finish(s);
}

/* After the first half. */
static __always_inline __u64 sip_second_half(struct siphash *s)
{
	s->v1 ^= 0xdd;
	return sip_finish(s);
}

#endif
