/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Limits of answers: the buckets of src/serve/dns/rate-limit.ts, in the same memory and with the same
 * arithmetic. */
#ifndef PORTICO_DNS_LIMIT_H
#define PORTICO_DNS_LIMIT_H

#include <stdbool.h>
#include "dns-maps.h"
#include "packet.h"

#define FULL 1
#define REFUSED 2
#define BUCKET_WORDS 4
#define PROVED_WORDS 2
/* First words of the buckets of a line. */
#define LIMIT_WORD_MASK 12
/* Of the first word of an IPv4 address, a /24; of the second of an IPv6 address, a /56. */
#define LIMIT_PREFIX_MASK 0x00ffffff
/* Others may count at the same time; who loses more often lets the answer pass. */
#define LIMIT_ATTEMPTS 4

enum verdict { VERDICT_SEND, VERDICT_DROP, VERDICT_UP };

/* Whom to count for what. */
struct limited {
	__u64 source[2]; /* as it lies on the wire; IPv4 in the lower half of the first */
	__u32 subject;
	__u32 kind;
	__u32 now;
	__u32 seconds;
	bool is_ipv6;
	bool has_cookie;
	__u16 zero;
	__u32 hash; /* of the prefix and the subject: `meet_limit` */
	__u64 displaced;
};

static __always_inline __u32 rotate32(__u32 word, int bits)
{
	return word << bits | word >> (32 - bits);
}

/* A step of MurmurHash3. */
static __always_inline __u32 mix(__u32 hash, __u32 word)
{
	hash ^= rotate32(word * 0xcc9e2d51, 15) * 0x1b873593;
	return rotate32(hash, 13) * 5 + 0xe6546b64;
}

static __always_inline __u32 finish(__u32 hash)
{
	hash = (hash ^ hash >> 16) * 0x85ebca6b;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35;
	return hash ^ hash >> 16;
}

static __always_inline __u32 hash_client(const struct limited *who, __u32 hash, bool is_whole)
{
	__u32 mask = is_whole ? ~0U : LIMIT_PREFIX_MASK;

	if (!who->is_ipv6)
		return mix(hash, (__u32)who->source[0] & mask);
	hash = mix(hash, (__u32)who->source[0]);
	hash = mix(hash, who->source[0] >> 32 & mask);
	if (is_whole) {
		hash = mix(hash, (__u32)who->source[1]);
		hash = mix(hash, who->source[1] >> 32);
	}
	return hash;
}

static __always_inline bool is_proved(const struct limited *who, __u32 seed)
{
	__u32 hash = hash_client(who, mix(seed, 0), true);
	__u32 set = finish(hash) & (DNS_PROVED_SETS - 1);
	__u32 index = DNS_LIMIT_SETS + (set >> 1);
	struct dns_limit_line *line = bpf_map_lookup_elem(&dns_limits, &index);
	__u32 *words;

	if (!line)
		return false;
	words = &line->word[(set & 1) * DNS_LIMIT_WAYS * PROVED_WORDS];
	hash = mix(hash, 0) | 1;
	for (int way = 0; way < DNS_LIMIT_WAYS; way++) {
		if (words[way * PROVED_WORDS] == hash)
			return (__s32)(words[way * PROVED_WORDS + 1] - who->seconds) > 0;
	}
	return false;
}

/* How far a bucket is from full; 0 for what cannot be. */
static __always_inline __u32 debt_ticks(__u32 full, __u32 now)
{
	__u32 debt = full - now;

	return debt > DNS_MAX_DEBT_TICKS ? 0 : debt;
}

/* Index of the first word of the bucket with that tag, or of the one of its set nearest to unused, taken
 * over. */
static __always_inline __u32 find_limit(struct dns_limit_line *line, __u32 tag, __u32 now, __u64 *displaced)
{
	__u32 least = DNS_MAX_DEBT_TICKS + 1;
	__u32 found = DNS_LIMIT_WAYS * BUCKET_WORDS;
	__u32 *bucket;

#pragma unroll
	for (int way = 0; way < DNS_LIMIT_WAYS; way++) {
		if (line->word[way * BUCKET_WORDS] == tag)
			found = way * BUCKET_WORDS;
	}
	if (found < DNS_LIMIT_WAYS * BUCKET_WORDS)
		return found;
#pragma unroll
	for (int way = 0; way < DNS_LIMIT_WAYS; way++) {
		__u32 *words = &line->word[way * BUCKET_WORDS];
		__u32 debt = words[0] ? debt_ticks(words[FULL], now) : 0;

		if (debt < least) {
			found = way * BUCKET_WORDS;
			least = forget(debt, ~0U);
		}
	}
	*displaced += least > 0;
	bucket = &line->word[forget(found, LIMIT_WORD_MASK)];
	bucket[0] = tag;
	bucket[FULL] = now;
	bucket[REFUSED] = 0;
	return found;
}

static __always_inline bool is_exempt(const struct limited *who, const struct dns_settings *settings)
{
	__u64 first = who->is_ipv6 ? who->source[0] : 0;
	__u64 second = who->is_ipv6 ? who->source[1] : who->source[0] << 32 | 0xffff0000;

	for (__u32 i = 0; i < DNS_MAX_EXEMPT; i++) {
		if (i >= settings->exempts)
			return false;
		if ((first & settings->exempt_mask[2 * i]) == settings->exempt_address[2 * i] &&
		    (second & settings->exempt_mask[2 * i + 1]) == settings->exempt_address[2 * i + 1])
			return true;
	}
	return false;
}

/* Above the limit. Short answers are the process's, which counts them. */
static __always_inline enum verdict refuse(__u32 *bucket, const struct limited *who,
					   const struct dns_settings *settings)
{
	if (settings->exempts > DNS_MAX_EXEMPT)
		return VERDICT_UP;
	if (is_exempt(who, settings))
		return VERDICT_SEND;
	if (settings->slip && bucket[REFUSED] % settings->slip == 0)
		return VERDICT_UP;
	__sync_fetch_and_add(&bucket[REFUSED], 1);
	return VERDICT_DROP;
}

/* False: the bucket is empty. */
static __always_inline bool take_token(__u32 *bucket, __u32 interval, __u32 now)
{
	for (int attempt = 0; attempt < LIMIT_ATTEMPTS; attempt++) {
		__u32 known = *(volatile __u32 *)&bucket[FULL];
		__u32 debt = debt_ticks(known, now) + interval;

		if (debt > DNS_BURST_TICKS)
			return false;
		if (__sync_val_compare_and_swap(&bucket[FULL], known, now + debt) == known)
			return true;
	}
	return true;
}

static __always_inline __u32 *find_bucket(struct limited *who, __u32 hash, __u32 kind)
{
	__u32 index = finish(hash) & (DNS_LIMIT_SETS - 1);
	struct dns_limit_line *line = bpf_map_lookup_elem(&dns_limits, &index);

	if (!line)
		return NULL;
	index = find_limit(line, mix(hash, kind) | 1, who->now, &who->displaced);
	return &line->word[forget(index, LIMIT_WORD_MASK)];
}

/* Of those who proved their address, each for itself. Few need it: a function that is judged once. */
__attribute__((noinline)) int judge_proved(struct limited *who)
{
	__u32 only = 0;
	const struct dns_settings *settings = bpf_map_lookup_elem(&dns_settings, &only);
	__u32 *bucket;

	if (!who || !settings)
		return VERDICT_UP;
	bucket = find_bucket(who, hash_client(who, mix(settings->seed, who->subject), true), who->kind + 8);
	if (!bucket || take_token(bucket, settings->proved_interval, who->now))
		return VERDICT_SEND;
	return refuse(bucket, who, settings);
}

/*
 * Where the prefix's limit stands, asked for before it is needed: it is in no cache, and other work goes on
 * until it is there.
 */
static __always_inline void meet_limit(struct limited *who, const struct dns_settings *settings)
{
	struct dns_limit_line *line;
	__u32 index;

	who->hash = hash_client(who, mix(settings->seed, who->subject), false);
	index = finish(who->hash) & (DNS_LIMIT_SETS - 1);
	line = bpf_map_lookup_elem(&dns_limits, &index);
	if (line)
		*(volatile __u32 *)&line->word[0];
}

/*
 * May this answer be sent? Counts it. As `judge` in src/serve/dns/rate-limit.ts: for the prefix, as long as
 * it is below its limit.
 */
static __always_inline enum verdict judge_limit(struct limited *who, const struct dns_settings *settings)
{
	__u32 *bucket;

	if (!settings->limit_interval)
		return VERDICT_SEND;
	if (!who->has_cookie) {
		bucket = find_bucket(who, who->hash, who->kind);
		if (!bucket || take_token(bucket, settings->limit_interval, who->now))
			return VERDICT_SEND;
		if (!is_proved(who, settings->seed))
			return refuse(bucket, who, settings);
	}
	return judge_proved(who);
}

#endif
