/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What stands behind the question: nothing, or one OPT record (RFC 6891) with client subnet (7871) and cookie
 * (7873). */
#ifndef PORTICO_DNS_EDNS_H
#define PORTICO_DNS_EDNS_H

#include "dns-cookie.h"
#include "dns-packet.h"
#include "dns-time.h"

#define TYPE_OPT 41
#define OPT_BYTES 11
#define OPTION_BYTES 4
#define OPTION_NSID 3
#define OPTION_SUBNET 8
#define OPTION_COOKIE 10
#define FAMILY_IPV4 1
#define FAMILY_IPV6 2
#define MAX_OPTIONS 4
/* Of OPT in all: two options and some padding. */
#define MAX_EDNS_BYTES 128
#define MIN_UDP_ANSWER 512
#define MAX_UDP_ANSWER 1232
#define CLIENT_COOKIE_BYTES 8
#define COOKIE_BYTES 24

/* Where options stand in the frame; 0: they do not. */
struct options {
	__u32 subnet;
	__u32 subnet_bytes;
	__u32 cookie;
	__u32 cookie_bytes;
};

/* Sum of the bytes from `at` to `to`, as of 16-bit words from an even offset on. At least eight bytes. */
static __always_inline bool sum_bytes(struct xdp_md *ctx, __u32 at, __u32 bytes, __u32 *folded)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *first = PLACE(data, at, 1023);
	__u64 sum = 0, word;
	void *last;
	__u32 left;

	for (__u32 i = 0; i < MAX_EDNS_BYTES / 8; i++) {
		void *from = first + i * 8;

		if (i * 8 + 8 > bytes)
			break;
		if (from + 8 > end)
			return false;
		sum += sum_word(*(__u64 *)from);
	}
	left = bytes & 7;
	if (left) {
		last = PLACE(data, (at + bytes - 8), 1023);
		if (last + 8 > end)
			return false;
		word = *(__u64 *)last >> (64 - left * 8);
		sum += sum_word(word);
	}
	*folded = fold(sum);
	return true;
}

static __always_inline bool find_options(struct xdp_md *ctx, __u32 at, __u32 bytes, struct options *options)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	__u32 to = at + bytes;

	for (int i = 0; i < MAX_OPTIONS; i++) {
		void *option = PLACE(data, at, 1023);
		__u32 code, length;

		if (at == to)
			return true;
		if (option + OPTION_BYTES > end)
			return false;
		code = bpf_ntohs(*(__be16 *)option);
		length = bpf_ntohs(*(__be16 *)(option + 2));
		at += OPTION_BYTES;
		if (length > MAX_EDNS_BYTES || at + length > to)
			return false;
		if (code == OPTION_SUBNET) {
			if (options->subnet)
				return false;
			options->subnet = at;
			options->subnet_bytes = length;
		} else if (code == OPTION_COOKIE) {
			if (options->cookie)
				return false;
			options->cookie = at;
			options->cookie_bytes = length;
		} else if (code == OPTION_NSID) {
			return false;
		}
		at = forget(at + length, 1023);
	}
	return at == to;
}

/* RFC 7871 sections 6 and 7.1. `at`: of its data in the frame. */
static __always_inline bool read_subnet(struct xdp_md *ctx, struct query *query, __u32 at, __u32 length)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *head = PLACE(data, at, 1023);
	__u32 source, family, bytes, used;
	__u64 last;

	if (length < 4 || length > 20 || head + 4 > end || *(__u8 *)(head + 3))
		return false;
	query->subnet_family = *(__be16 *)head;
	family = bpf_ntohs(query->subnet_family);
	source = *(__u8 *)(head + 2);
	bytes = length - 4;
	if (source > (family == FAMILY_IPV4   ? 32
		      : family == FAMILY_IPV6 ? 128
					      : 0) ||
	    family > FAMILY_IPV6 || bytes != (source + 7) >> 3)
		return false;
	query->has_subnet = true;
	query->subnet_source = source;
	query->subnet[0] = 0;
	query->subnet[1] = 0;
	if (!bytes)
		return true;
	/* The last eight bytes of the option: before the address stand eight more. */
	head = PLACE(data, (at + length - 8), 1023);
	if (head + 8 > end)
		return false;
	last = *(__u64 *)head;
	used = source & 7;
	if (used && last >> 56 & 0xff >> used)
		return false;
	if (bytes <= 8) {
		query->subnet[0] = last >> (64 - bytes * 8);
		return true;
	}
	head = PLACE(data, (at + 4), 1023);
	if (head + 8 > end)
		return false;
	query->subnet[0] = *(__u64 *)head;
	query->subnet[1] = last >> (128 - bytes * 8);
	return true;
}

/* Reads it and makes the one to be sent. */
static __always_inline bool read_cookie(struct xdp_md *ctx, struct query *query,
					const struct dns_settings *settings, const struct dns_time *time,
					__u32 at, __u32 length)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *from = PLACE(data, at, 1023);

	if (settings->cookie_keys > DNS_COOKIE_KEYS ||
	    (length != CLIENT_COOKIE_BYTES && length != COOKIE_BYTES) || from + 8 > end)
		return false;
	if (!settings->cookie_keys)
		return true;
	query->cookie[0] = *(__u64 *)from;
	query->cookie[1] = 0;
	if (length == COOKIE_BYTES) {
		if (from + COOKIE_BYTES > end)
			return false;
		query->cookie[1] = *(__u64 *)(from + 8);
		query->cookie[2] = *(__u64 *)(from + 16);
	}
	query->has_cookie = length == COOKIE_BYTES ? COOKIE_BAD : COOKIE_CLIENT;
	answer_cookie(query, settings, time->seconds);
	return true;
}

/* `at`: of the record in the frame; `bytes`: from there to the message's end. */
static __always_inline bool read_edns(struct xdp_md *ctx, struct query *query, struct options *options,
				      const struct dns_settings *settings, const struct dns_time *time,
				      __u32 at, __u32 bytes)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *record = PLACE(data, at, 1023);
	__u32 payload;

	if (bytes < OPT_BYTES || bytes > MAX_EDNS_BYTES || record + OPT_BYTES > end)
		return false;
	/* The root as owner; version 0. */
	if (*(__u8 *)record || *(__be16 *)(record + 1) != bpf_htons(TYPE_OPT) || *(__u8 *)(record + 6) ||
	    bpf_ntohs(*(__be16 *)(record + 9)) != bytes - OPT_BYTES)
		return false;
	payload = bpf_ntohs(*(__be16 *)(record + 3));
	query->limit = payload < MIN_UDP_ANSWER   ? MIN_UDP_ANSWER
		       : payload > MAX_UDP_ANSWER ? MAX_UDP_ANSWER
						  : payload;
	/* CO is echoed for signed zones (RFC 9824 section 5.1). */
	if (*(__u8 *)(record + 7) & 0x40)
		return false;
	query->is_dnssec_ok = *(__u8 *)(record + 7) >> 7;
	query->has_edns = true;
	if (!sum_bytes(ctx, at, bytes, &query->removed))
		return false;
	if (bytes == OPT_BYTES)
		return true;
	options->subnet = 0;
	options->cookie = 0;
	if (!find_options(ctx, at + OPT_BYTES, bytes - OPT_BYTES, options))
		return false;
	if (options->subnet && !read_subnet(ctx, query, options->subnet, options->subnet_bytes))
		return false;
	return !options->cookie ||
	       read_cookie(ctx, query, settings, time, options->cookie, options->cookie_bytes);
}

#endif
