/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The question's name, eight bytes at a time. Its end is the first byte that is 0: a label may hold such a
 * byte too, but no name of the table does, and so a name that equals one of them byte by byte ends there.
 */
#ifndef PORTICO_DNS_NAME_H
#define PORTICO_DNS_NAME_H

#include "dns-packet.h"

#define EACH_BYTE(value) ((value)*0x0101010101010101ULL)
#define HASH_FACTOR 0x9fb21c651e98df25ULL

/* Letters in lower case. Lengths of labels are below 'A'. */
static __always_inline __u64 lower_case(__u64 word)
{
	__u64 low = word & EACH_BYTE(0x7f);
	__u64 from_a = low + EACH_BYTE(0x80 - 'A');
	__u64 above_z = low + EACH_BYTE(0x80 - ('Z' + 1));

	return word | (from_a & ~above_z & ~word & EACH_BYTE(0x80)) >> 2;
}

/* The lowest bit that is set tells of the first byte that is 0; 0: there is none. */
static __always_inline __u64 find_zero(__u64 word)
{
	return (word - EACH_BYTE(0x01)) & ~word & EACH_BYTE(0x80);
}

/* From `at` to the frame's end, if that is less than eight bytes. The frame has 42 bytes and more. */
static __always_inline bool load_rest(void *data, void *end, __u32 at, __u64 *word)
{
	__u32 length = frame_bytes(data, end);
	__u32 begin = length - 8;
	void *last;

	if (at >= length || begin >= 1024)
		return false;
	last = PLACE(data, begin, 1023);
	if (last + 8 > end)
		return false;
	*word = *(__u64 *)last >> ((at - begin) * 8 & 63);
	return true;
}

/* Hash of the name at the frame's offset `at`, and its bytes with the root; 0 bytes: it has no end. */
static __always_inline __u64 hash_name(struct xdp_md *ctx, __u32 at, __u32 *bytes)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *name = PLACE(data, at, 127);
	__u64 hash = 0;

	*bytes = 0;
	for (__u32 i = 0; i < DNS_NAME_WORDS; i++) {
		void *from = name + i * 8;
		__u64 word, zero;
		bool is_rest = from + 8 > end;

		if (!is_rest)
			word = *(__u64 *)from;
		else if (!load_rest(data, end, at + i * 8, &word))
			return 0;
		zero = find_zero(word);
		if (zero) {
			__u64 before = ((zero & -zero) >> 7) - 1;

			*bytes = i * 8 + ((before & EACH_BYTE(0x01)) * EACH_BYTE(0x01) >> 56) + 1;
			word &= before;
		}
		hash = (hash ^ lower_case(word)) * HASH_FACTOR;
		hash ^= hash >> 32;
		if (zero || is_rest)
			return hash;
	}
	return 0;
}

/* Whether the name at `at` is `name`. The last word of it may have more bytes behind it. */
static __always_inline bool equals_name(struct xdp_md *ctx, __u32 at, const struct dns_name *name,
					__u32 bytes)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *asked = PLACE(data, at, 127);
	__u32 words = (bytes + 7) >> 3;

	if (words != name->words)
		return false;
	for (__u32 i = 0; i < DNS_NAME_WORDS; i++) {
		void *from = asked + i * 8;
		bool is_rest = from + 8 > end;
		__u64 word;

		if (i >= words)
			return true;
		if (!is_rest)
			word = *(__u64 *)from;
		else if (!load_rest(data, end, at + i * 8, &word))
			return false;
		if (i == words - 1)
			word &= ~0ULL >> ((words * 8 - bytes) * 8 & 63);
		if (lower_case(word) != name->text[i])
			return false;
		if (is_rest)
			return i == words - 1;
	}
	return true;
}

/* Index in `dns_names`, + 1; 0: not in the table. */
static __always_inline __u32 find_name(__u64 hash, const struct dns_settings *settings)
{
	__u32 index = hash & settings->bucket_mask;
	struct dns_bucket *bucket = bpf_map_lookup_elem(&dns_buckets, &index);
	__u32 found = 0;

	if (!bucket)
		return 0;
#pragma unroll
	for (int i = 0; i < DNS_BUCKET_NAMES; i++) {
		if (bucket->slot[i] >> 32 == hash >> 32)
			found = bucket->slot[i];
	}
	return found;
}

#endif
