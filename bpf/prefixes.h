/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Counts by client prefix (/24, /48) in bounded memory: of new flows, a service apart, and of ICMP errors
 * sent. Sets of four cells; a prefix that finds none of its own takes over the lightest of its set and, as in
 * Metwally, Agrawal and Abbadi's "space-saving" (2005), starts with that one's weight, which is noted as its
 * error. So the heaviest are never lost in a flood from many: a prefix is in its set while its weight is
 * above a quarter of the set's, and its weight is too high by its error at most. Limits go by the count of
 * this second, which a newcomer starts from nothing: no prefix is held to blame for another.
 *
 * Weights halve every second, so that of a steady source is its rate. CPUs race only for a packet or two.
 */
#ifndef PORTICO_PREFIXES_H
#define PORTICO_PREFIXES_H

#include "clock.h"
#include "maps.h"
#include "packet.h"
#include "pressure.h"
#include "siphash.h"

/* Of services without a limit one new flow in so many is counted, for all of them. */
#define SAMPLE_OF_FLOWS 64

struct prefix_use {
	__u64 key;
	__u64 clock;
	__u32 amount;
	__u32 limit; /* a second; 0: none */
	__u64 hash;  /* the answer, beside the result */
};

/* Never 0. The barrier keeps the compiler from computing the context's address of data_end once for all
 * uses, which the verifier does not follow. */
static __always_inline __u64 prefix_key(const struct packet *packet, __u32 subject)
{
	__u64 key = 1ULL << 63 | (__u64)subject << PREFIX_SUBJECT_SHIFT;
	struct xdp_md *ctx = packet->ctx;
	void *end;

	asm volatile("" : "+r"(ctx));
	end = (void *)(long)ctx->data_end;

	if (packet->is_ipv6) {
		struct ipv6 *ip = packet->ip;

		if (packet->ip + IPV6_BYTES > end)
			return key;
		return key | PREFIX_IPV6 | bpf_be64_to_cpu(*(__u64 *)ip->source) >> 16;
	}
	if (packet->ip + IPV4_BYTES > end)
		return key;
	return key | bpf_ntohl(((struct ipv4 *)packet->ip)->source) >> 8;
}

/* What the weight would be in that second. CPUs may be a jiffy apart: a second that has passed already counts
 * as this. */
static __always_inline __u32 weight_in(const struct prefix_set *set, __u32 way, __u32 second)
{
	__u64 window = *(volatile __u64 *)&set->window[way];
	__s32 passed = second - window_name(window);
	__u32 weight = set->weight[way] + (__u32)window;

	if (passed <= 0)
		return weight;
	return passed > 31 ? 0 : weight >> passed;
}

static __always_inline void roll_cell(struct prefix_set *set, __u32 way, __u32 second)
{
	__u64 window = *(volatile __u64 *)&set->window[way];
	__s32 passed = second - window_name(window);
	__u32 weight = weight_in(set, way, second);

	if (passed <= 0 ||
	    __sync_val_compare_and_swap(&set->window[way], window, (__u64)second << 32) != window)
		return;
	set->weight[way] = weight;
	set->error[way] = passed > 31 ? 0 : set->error[way] >> passed;
}

/* The prefix takes over the cell; another CPU that is faster has it. */
static __always_inline void take_cell(struct prefix_set *set, __u32 way, const struct prefix_use *use,
				      __u32 second)
{
	__u32 weight = weight_in(set, way, second);
	__u64 before = set->key[way];

	if (__sync_val_compare_and_swap(&set->key[way], before, use->key) != before)
		return;
	set->weight[way] = weight;
	set->error[way] = weight;
	set->since[way] = second;
	set->refused[way] = 0;
	*(volatile __u64 *)&set->window[way] = (__u64)second << 32 | use->amount;
}

/*
 * Counts a use. 1: it was over the limit of its prefix in this second. Uses over the limit count too, so that
 * who does not stop stays refused. A global function, so that the verifier judges it once.
 */
__attribute__((noinline)) int use_prefix(struct prefix_use *use)
{
	const struct settings *all = find_settings();
	__u32 second, lightest = 0, least = ~0U;
	struct prefix_set *set;
	struct siphash state;
	__u32 index;

	if (!use || !all)
		return 0;
	second = use->clock >> PRESSURE_SECOND_SHIFT;
	sip_start(&state, all->key);
	sip_word(&state, use->key);
	sip_word(&state, 8ULL << 56);
	use->hash = sip_first_half(&state);
	index = use->hash >> 32 & all->prefix_mask;
	set = bpf_map_lookup_elem(&prefixes, &index);
	if (!set)
		return 0;
#pragma unroll
	for (__u32 way = 0; way < PREFIX_WAYS; way++) {
		__u32 weight;

		if (set->key[way] == use->key) {
			__u32 count;

			roll_cell(set, way, second);
			count = (__u32)__sync_fetch_and_add(&set->window[way], use->amount) + use->amount;
			if (!use->limit || count <= use->limit)
				return 0;
			set->refused[way]++;
			return 1;
		}
		weight = weight_in(set, way, second);
		if (weight < least) {
			least = weight;
			lightest = way;
		}
	}
	take_cell(set, lightest & (PREFIX_WAYS - 1), use, second);
	return 0;
}

static __always_inline struct tally *find_tally(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&tallies, &cpu);
}

/*
 * The next flow that is counted is one of the 127 to come, by a generator that takes in what it met: a source
 * that sends in turns meets it at no fixed step.
 */
static __always_inline void sample_new_flow(const struct packet *packet, const struct service *service,
					    struct tally *tally)
{
	struct prefix_use use = {
	    .key = prefix_key(packet, service->subject),
	    .clock = clock_ns(),
	    .amount = SAMPLE_OF_FLOWS,
	};

	use_prefix(&use);
	tally->sampler = tally->sampler * 6364136223846793005ULL + use.hash;
	tally->until_sample = 1 + ((tally->sampler >> 32) * (2 * SAMPLE_OF_FLOWS - 1) >> 32);
}

/* Is this new flow one more than its service takes from its prefix? */
static __always_inline bool is_limited(const struct packet *packet, const struct service *service)
{
	struct tally *tally;

	if (service->prefix_new_per_second) {
		struct prefix_use use = {
		    .key = prefix_key(packet, service->subject),
		    .clock = clock_ns(),
		    .amount = 1,
		    .limit = service->prefix_new_per_second,
		};

		return RARE(use_prefix(&use));
	}
	tally = find_tally();
	if (tally && (__s32)--tally->until_sample <= 0)
		sample_new_flow(packet, service, tally);
	return false;
}

/*
 * May an ICMP error be sent to the packet's sender? Not above the limits of this CPU and of the prefix. What
 * tells a size has limits of its own: connections wait for it, and anybody can use up the others.
 */
static __always_inline bool may_answer(const struct packet *packet, const struct settings *all,
				       bool tells_size)
{
	struct prefix_use use = {
	    .key = prefix_key(packet, 0) | (tells_size ? PREFIX_TOLD_SIZE : 0),
	    .clock = clock_ns(),
	    .amount = 1,
	    .limit = all->icmp_per_prefix,
	};
	__u32 second = use.clock >> PRESSURE_SECOND_SHIFT;
	struct tally *tally = find_tally();
	__u64 *sent;

	if (!tally)
		return false;
	sent = tells_size ? &tally->told_size : &tally->answered;
	if (window_name(*sent) != second)
		*sent = (__u64)second << 32;
	if ((__u32)*sent >= all->icmp_per_second || use_prefix(&use))
		return false;
	++*sent;
	return true;
}

#endif
