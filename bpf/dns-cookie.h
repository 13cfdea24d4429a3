/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Server cookies (RFC 9018), as src/serve/dns/cookie.ts makes and judges them. */
#ifndef PORTICO_DNS_COOKIE_H
#define PORTICO_DNS_COOKIE_H

#include "dns-packet.h"
#include "siphash.h"

enum cookie { COOKIE_NONE, COOKIE_CLIENT, COOKIE_GOOD, COOKIE_BAD };

#define COOKIE_VERSION 1
#define COOKIE_MAX_AGE 3600
#define COOKIE_MAX_AHEAD 300
#define COOKIE_RENEW_AGE 1800

static __always_inline void sip_word_2(struct siphash *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

/* SipHash-2-4 of the client's cookie, the head and the address. Rare enough to be a function of its own. */
static __noinline __u64 hash_cookie(const struct query *query, __u64 head, __u64 key0, __u64 key1)
{
	struct siphash s = {
	    .v0 = key0 ^ 0x736f6d6570736575,
	    .v1 = key1 ^ 0x646f72616e646f6d,
	    .v2 = key0 ^ 0x6c7967656e657261,
	    .v3 = key1 ^ 0x7465646279746573,
	};

	sip_word_2(&s, query->cookie[0]);
	sip_word_2(&s, head);
	if (query->is_ipv6) {
		sip_word_2(&s, query->source[0]);
		sip_word_2(&s, query->source[1]);
		sip_word_2(&s, 32ULL << 56);
	} else {
		sip_word_2(&s, (__u32)query->source[0] | 20ULL << 56);
	}
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* Judges a whole cookie; leaves in `cookie` what is to be sent: the same if it is good, young and by the
 * first key. */
static __always_inline void answer_cookie(struct query *query, const struct dns_settings *settings,
					  __u32 seconds)
{
	__u64 head = query->cookie[1];
	__s32 age = seconds - bpf_ntohl(head >> 32);

	if (query->has_cookie == COOKIE_BAD && (head & 0xff) == COOKIE_VERSION && age <= COOKIE_MAX_AGE &&
	    age >= -COOKIE_MAX_AHEAD) {
		for (__u32 i = 0; i < DNS_COOKIE_KEYS; i++) {
			if (i >= settings->cookie_keys)
				break;
			if (hash_cookie(query, head, settings->cookie_key[2 * i],
					settings->cookie_key[2 * i + 1]) != query->cookie[2])
				continue;
			query->has_cookie = COOKIE_GOOD;
			query->has_good_cookie = true;
			if (i == 0 && age < COOKIE_RENEW_AGE)
				return;
			break;
		}
	}
	head = COOKIE_VERSION | (__u64)bpf_htonl(seconds) << 32;
	query->cookie[1] = head;
	query->cookie[2] = hash_cookie(query, head, settings->cookie_key[0], settings->cookie_key[1]);
}

#endif
