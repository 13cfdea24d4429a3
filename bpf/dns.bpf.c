/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Answers to queries of steered names, from tables. What is not understood goes up to the process, whose
 * answers these are, byte by byte (test/dns/kernel.test.ts); nothing is changed in a packet before it is
 * certain that it is answered.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "dns-askers.h"
#include "dns-limit.h"
#include "dns-name.h"
#include "dns-send.h"
#include "roles.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/*
 * What is known of the query in hand. Not on the stack: of maps the verifier remembers nothing, so that the
 * many ways in which a query may be read are one case for what follows. Nothing else runs on the CPU
 * meanwhile.
 */
struct work {
	struct query query;
	struct options options;
	struct reply reply;
	struct limited who;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} dns_works SEC(".maps");

#define CLASS_IN 1
#define TYPE_A 1
#define TYPE_AAAA 28
#define TYPE_HTTPS 65
#define MAX_STEPS 32
#define ROOT_IPV6 16
/* QR and opcode. */
#define REFUSED_FLAGS 0xf8
/* One question and no record, or one additional one: the counts as they lie on the wire, without the latter.
 */
#define PLAIN_COUNTS 0x0100
#define ADDITIONAL_ONE (1ULL << COUNT_SHIFT_ADDITIONALS)

/* Type and class of the question that ends at the frame's offset `at`. */
static __always_inline bool read_type(struct xdp_md *ctx, struct query *query, __u32 at)
{
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	void *from = PLACE(data, at, 1023);
	__be16 type;

	if (from + 4 > end || *(__be16 *)(from + 2) != bpf_htons(CLASS_IN))
		return false;
	type = *(__be16 *)from;
	if (type == bpf_htons(TYPE_A))
		query->type = 0;
	else if (type == bpf_htons(TYPE_AAAA))
		query->type = 1;
	else if (type == bpf_htons(TYPE_HTTPS))
		query->type = 2;
	else
		return false;
	return true;
}

/*
 * The leaf of an address of which the first `bits` are known and the others 0, as src/net/prefix-map.ts finds
 * it; false: they do not suffice.
 */
static __always_inline bool find_leaf(__u32 nodes, __u32 root, __u64 first, __u64 second, __u32 bits,
				      __u32 *leaf)
{
	__u32 zero = *(volatile __u32 *)&unknown_zero;
	__u32 base = nodes + root, depth = 0, narrow = 0;

	/* Without branches, and with nothing known of depth and width: else the verifier would go each way
	 * that the tree might have. */
	for (int step = 0; step < MAX_STEPS; step++) {
		__u64 beyond = -(__u64)(depth >> 6 & 1);
		__u32 shift = narrow << 2 & ~depth & 4;
		__u32 place, index, word;
		struct dns_node *node;

		asm volatile("" : "+r"(beyond));
		place = ((first & ~beyond) | (second & beyond)) >> (depth & 56) & 0xff;
		place = place >> shift & (0xff >> (narrow << 2));
		index = base + (place >> 4);
		node = bpf_map_lookup_elem(&dns_nodes, &index);
		if (!node)
			return false;
		word = node->word[place & (DNS_NARROW_WORDS - 1)];
		if (!(word & DNS_CHILD_BIT)) {
			*leaf = word;
			return (word & 0xff) <= bits && word >> 8 != DNS_NO_VALUE;
		}
		depth = ((depth + (8 >> narrow)) ^ zero) & 255;
		narrow = (word >> 30 ^ zero) & 1;
		base = nodes + (word & DNS_CHILD_PLACE);
		if (depth >= bits)
			return false;
	}
	return false;
}

/* The plan of who asks: of the client subnet if there is one with an address, else of the source. */
static __always_inline bool find_plan(struct query *query, const struct dns_name *name, __u32 *plan)
{
	__u64 first = query->source[0], second = query->source[1];
	bool is_ipv6 = query->is_ipv6, has_subnet = query->has_subnet && query->subnet_source;
	__u32 bits = is_ipv6 ? 128 : 32;
	__u32 leaf;

	if (has_subnet) {
		first = query->subnet[0];
		second = query->subnet[1];
		is_ipv6 = query->subnet_family == bpf_htons(FAMILY_IPV6);
		bits = query->subnet_source;
	}
	bits = forget(bits, 0xff);
	if (!find_leaf(name->node_base, is_ipv6 ? ROOT_IPV6 : 0, first, second, bits, &leaf))
		return false;
	leaf = forget(leaf, ~0U);
	query->scope = has_subnet ? leaf : 0;
	*plan = name->plan_base + (leaf >> 8);
	return true;
}

/* Of `dns_rows`; NULL: the plan has no answer ready. */
static __always_inline const struct dns_row *find_row(const struct query *query, const struct dns_name *name,
						      __u32 plan, __u32 *index)
{
	__u32 line = plan / DNS_LINE_CHOICES;
	struct dns_choices *choices = bpf_map_lookup_elem(&dns_choices, &line);
	__u32 choice;

	if (!choices)
		return NULL;
	choice = choices->choice[plan & (DNS_LINE_CHOICES - 1)];
	if (!choice)
		return NULL;
	*index = name->row_base + (choice - 1) * DNS_ROWS + query->type * 2 + query->is_dnssec_ok;
	return bpf_map_lookup_elem(&dns_rows, index);
}

/* Whom to count the answer for, as soon as the name is known. */
static __always_inline void introduce(struct work *work, const struct dns_settings *settings,
				      const struct dns_time *time, const struct dns_name *name)
{
	const struct query *query = &work->query;
	struct limited *who = &work->who;

	who->source[0] = query->source[0];
	who->source[1] = query->source[1];
	who->subject = name->subject;
	who->now = time->ticks;
	who->seconds = time->seconds;
	who->is_ipv6 = query->is_ipv6;
	who->has_cookie = query->has_good_cookie;
	who->displaced = 0;
	meet_limit(who, settings);
}

static __always_inline enum verdict judge(struct work *work, const struct dns_settings *settings,
					  const struct dns_row *row, struct dns_counters *own)
{
	enum verdict verdict;

	work->who.kind = row->kind;
	verdict = forget(judge_limit(&work->who, settings), 3);
	own->displaced += work->who.displaced;
	return verdict;
}

static __always_inline void count_answer(const struct query *query, const struct dns_settings *settings,
					 struct dns_counters *own, __u32 row, __u32 cpu, __u32 bytes)
{
	__u32 index = cpu * settings->rows + row;
	struct dns_hits *hits = bpf_map_lookup_elem(&dns_hits, &index);

	if (hits)
		hits->hits++;
	own->bytes += bytes;
	own->edns += query->has_edns;
	own->ecs += query->has_subnet;
	if (!query->has_cookie)
		return;
	own->cookie_client += query->has_cookie == COOKIE_CLIENT;
	own->cookie_good += query->has_cookie == COOKIE_GOOD;
	own->cookie_bad += query->has_cookie == COOKIE_BAD;
}

/* From the name to the packet that is sent. */
static __always_inline enum dns_outcome answer_name(struct xdp_md *ctx, struct work *work,
						    const struct dns_settings *settings,
						    const struct dns_time *time, const struct dns_name *name,
						    struct dns_counters *own, __u32 cpu)
{
	struct query *query = &work->query;
	struct reply *reply = &work->reply;
	const struct dns_row *row;
	enum dns_outcome outcome;
	__u32 plan, index;
	__u32 odd = query->question & 1;

	introduce(work, settings, time, name);
	if (!find_plan(query, name, &plan))
		return DNS_UP_SOURCE;
	row = find_row(query, name, plan, &index);
	if (!row || !row->length)
		return DNS_UP_CHOICE;
	if (row->kind != DNS_KIND_POSITIVE)
		query->scope = 0;
	query->scope = forget(query->scope, 0xff);
	reply->section = row->length;
	reply->opt = forget(opt_bytes(query), 127);
	reply->length = query->question + reply->section + reply->opt;
	if (reply->length > query->limit)
		return DNS_UP_SIZE;
	reply->sum = shift_sum(row->sum, odd) + (shift_sum(query->removed, odd) ^ 0xffff);
	if (query->has_edns)
		reply->sum +=
		    shift_sum(sum_opt(query, reply->opt - OPT_BYTES), !((query->question + row->length) & 1));
	reply->sum = forget(reply->sum, ~0U);
	switch (judge(work, settings, row, own)) {
	case VERDICT_SEND:
		break;
	case VERDICT_DROP:
		return DNS_LIMITED;
	default:
		return DNS_UP_SLIP;
	}
	outcome = send_reply(ctx, query, row, reply);
	if (outcome == DNS_ANSWERED) {
		count_answer(query, settings, own, index, cpu, reply->length);
		count_asker(query, settings, own, index);
	}
	return outcome;
}

static __always_inline enum dns_outcome answer_message(struct xdp_md *ctx, struct work *work,
						       const struct dns_settings *settings,
						       const struct dns_time *time, struct dns_counters *own,
						       __u32 cpu)
{
	struct query *query = &work->query;
	void *data = frame_begin(ctx);
	void *end = frame_end(ctx);
	__u32 at = query->udp + UDP_BYTES;
	void *message = PLACE(data, at, 127);
	struct dns_name *name;
	__u64 counts, hash;
	__u32 bytes, index, left;

	if (message + HEADER_BYTES > end)
		return DNS_UP_MESSAGE;
	counts = *(__u64 *)(message + 4);
	if (*(__u8 *)(message + 2) & REFUSED_FLAGS || (counts & ~ADDITIONAL_ONE) != PLAIN_COUNTS)
		return DNS_UP_MESSAGE;
	at += HEADER_BYTES;
	hash = hash_name(ctx, at, &bytes);
	bytes = forget(bytes, 0xff);
	if (!bytes || HEADER_BYTES + bytes + 4 > query->length)
		return DNS_UP_MESSAGE;
	query->question = HEADER_BYTES + bytes + 4;
	if (!read_type(ctx, query, at + bytes))
		return DNS_UP_TYPE;
	query->type = forget(query->type, 3);
	index = find_name(hash, settings);
	if (!index)
		return DNS_UP_NAME;
	index--;
	name = bpf_map_lookup_elem(&dns_names, &index);
	if (!name || !equals_name(ctx, at, name, bytes))
		return DNS_UP_NAME;
	left = query->length - query->question;
	query->limit = MIN_UDP_ANSWER;
	if (counts & ADDITIONAL_ONE) {
		if (!read_edns(ctx, query, &work->options, settings, time, at + bytes + 4, left))
			return DNS_UP_EDNS;
	} else if (left) {
		return DNS_UP_MESSAGE;
	}
	return answer_name(ctx, work, settings, time, name, own, cpu);
}

static __always_inline enum dns_outcome answer(struct xdp_md *ctx, struct dns_counters *own, __u32 cpu)
{
	const struct dns_settings *settings;
	const struct dns_time *time;
	enum dns_outcome outcome;
	struct work *work;
	__u32 only = 0;

	settings = bpf_map_lookup_elem(&dns_settings, &only);
	work = bpf_map_lookup_elem(&dns_works, &only);
	if (!settings || !work)
		return DNS_NOT_OURS; /* never */
	outcome = read_packet(ctx, &work->query, settings);
	if (outcome != DNS_ANSWERED)
		return outcome;
	time = dns_time(settings);
	if (!time || !time->is_alive)
		return DNS_UP_STALE;
	return answer_message(ctx, work, settings, time, own, cpu);
}

SEC("xdp.frags")
int dns(struct xdp_md *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct dns_counters *own = bpf_map_lookup_elem(&dns_counters, &cpu);
	enum dns_outcome outcome;

	if (!own)
		return XDP_PASS; /* never */
	outcome = answer(ctx, own, cpu);
	own->outcome[outcome]++;
	if (outcome == DNS_ANSWERED)
		return XDP_TX;
	if (outcome == DNS_LIMITED || outcome == DNS_BROKEN)
		return XDP_DROP;
	/* What is not answered here may be for another role of this machine. */
	bpf_tail_call(ctx, &roles, ROLE_BACKEND);
	return XDP_PASS;
}
