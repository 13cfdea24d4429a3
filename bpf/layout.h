/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Everything that the kernel programs and TypeScript share: the one source of truth.
 * src/serve/vip/layout.gen.ts is generated from the BTF of the compiled objects; the
 * generator rejects holes, unions and bit-fields, so every struct pads explicitly.
 *
 * Addresses are 16 bytes in wire order; an IPv4 address is IPv4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2).
 * Integers are in host order unless the type says __be.
 */
#ifndef PORTICO_LAYOUT_H
#define PORTICO_LAYOUT_H

#include <linux/types.h>

#define MAX_SUBJECTS 2048 /* VIPs and services together; index 0 is "no VIP" */
#define MAX_BACKENDS 4096 /* machines of a site; index 0 is "none"; an index has 12 bits */
#define INDEX_MASK 0xfff
#define MAX_VIP_PREFIXES 256 /* of a site; each also has a subject */
#define MAX_NAT_REPLIES 65536
#define MAX_NAT_TUPLES 65536
#define DEMAND_SETS 4096        /* of client prefixes and services: a power of two */
#define PREFIX_WAYS 4           /* cells of a set of client prefixes */
#define BUCKET_ENTRIES 8        /* connection table: 8 x 8 bytes is one cache line */
#define SERVER_ID_BUCKETS 65536 /* of server IDs of QUIC; a power of two */
#define SERVER_ID_ENTRIES 4     /* of a bucket: 4 x 16 bytes is one cache line */

/* The clock: bpf_ktime_get_coarse_ns() shifted right. Ages and slot ticks count 2^32 ns (4.29 s). */
#define TICK_SHIFT 32
/* Adoption deadlines are finer: 2^26 ns (67 ms). */
#define FINE_SHIFT 26
#define AGE_MASK 0xfff
/* A connection entry touched at most this many ticks ago meets a SYN as a retransmission (4.3 to 8.6 s). */
#define YOUNG_TICKS 1

/*
 * A slot of a lookup table, one aligned 64-bit word: current, previous and third are indices of backends, 12
 * bits each; generation (16 bits) is mixed into fingerprints and raised when a settled slot becomes
 * unsettled; tick (12 bits) is 0 in a settled slot, else the low bits of the clock in ticks, 1 where they are
 * 0.
 */
#define SLOT_PREVIOUS_SHIFT 12
#define SLOT_THIRD_SHIFT 24
#define SLOT_GENERATION_SHIFT 36
#define SLOT_GENERATION_MASK 0xffff
#define SLOT_TICK_SHIFT 52
#define SLOT_TICK_MASK 0xfff

/* A connection entry, one 64-bit word: backend | state << 12 | age << 16 | fingerprint << 28. 0 is empty. */
#define ENTRY_STATE_SHIFT 12
#define ENTRY_AGE_SHIFT 16
#define ENTRY_FINGERPRINT_SHIFT 28
/* State of an entry where every flow is tracked (SERVICE_TRACK_ALL); 0 in the entries of other services. */
#define STATE_OPENING 1 /* a SYN was seen, or the first packet of UDP */
#define STATE_OPEN 2    /* more was seen */
#define STATE_CLOSING 3 /* RST was seen, and nothing else since */
#define STATE_PHASE 3   /* the mask of the above */
#define STATE_ENDED 4   /* a flag: FIN was seen, so the client says no more, but may still be listening */
#define STATE_COUNTED 8 /* one of its backend's active connections */
/* Entries in these states are expired when they were not touched for longer; open ones by the service. */
#define OPENING_TICKS 14 /* 60 to 64 s */
#define CLOSING_TICKS 4  /* from the last packet, which leaves an age of 2: 9 to 13 s */
#define ENDED_TICKS 70   /* or the service's lifetime, if that is shorter: 5 min */
/* A SYN takes over an entry that saw FIN or RST if it is older than this: 4 to 9 s after the last packet. */
#define REOPEN_TICKS 3

#define MAX_PICKS 4096 /* of a pick table */

/*
 * Versions of what an upgrade cannot read off the structs: which bits of a word mean what, and which flow a
 * word stands for. Raise one with each change that gives old words another meaning; a new flag does not.
 * Maps with words of another version are not taken over (src/serve/vip/map-fates.ts; layout.test.ts tells
 * which constants belong to which). A new field of a struct must mean by 0 "as before it was there".
 */
enum packing {
	PACKING_SLOT = 1,     /* words of lookup tables, and which slot a flow has */
	PACKING_ENTRY = 1,    /* words of the connection table; a flow's buckets and fingerprint */
	PACKING_FLAGS = 1,    /* flags of vips, services, backends, members */
	PACKING_FRAGMENT = 1, /* words of fragments; their buckets and regions */
};

/* What a role is in the root program's array, in the order in which a packet is offered to them. */
enum role { ROLE_BALANCER, ROLE_DNS, ROLE_BACKEND, ROLE_COUNT };

/* Where every packet that reaches balancer.bpf.c ends: exactly one each. */
enum outcome {
	OUTCOME_NOT_IP,      /* pass */
	OUTCOME_NOT_VIP,     /* pass */
	OUTCOME_MALFORMED,   /* for a VIP, but lengths or headers do not fit: drop */
	OUTCOME_FRAGMENT,    /* for a VIP, early, and over the bounds of what is held: drop */
	OUTCOME_NO_SERVICE,  /* for a VIP, no service on that port and protocol: pass, or drop: host.h */
	OUTCOME_ICMP_ECHO,   /* echo request to a VIP, answered: tx */
	OUTCOME_ICMP_OTHER,  /* any other ICMP to a VIP: the same */
	OUTCOME_ICMP_ERROR,  /* an ICMP error about a flow, to the backend of the flow */
	OUTCOME_TTL_EXPIRED, /* its TTL or hop limit was used up: drop, the sender is told */
	OUTCOME_NO_BACKEND,  /* the slot names nobody: drop, and tell the sender if the service wants it */
	OUTCOME_SETTLED,     /* settled slot, to current */
	OUTCOME_TRACKED,     /* unsettled slot, to the backend of the connection entry */
	OUTCOME_NEW,         /* unsettled slot, new flow, inserted, to current */
	OUTCOME_ADOPTED,     /* unsettled slot, UDP within the adoption time, inserted, to previous */
	OUTCOME_UNTRACKED,   /* unsettled slot, not in the table and not inserted, to previous */
	OUTCOME_PROBE,       /* from the prober, to the backend that its source address forces */
	OUTCOME_NAT_REPLY,   /* from a backend behind nat, its source made the VIP: tx, redirect or pass */
	OUTCOME_LIMITED,     /* a new flow above what its service takes from its client prefix: drop */
	OUTCOME_TOO_BIG,   /* does not fit on the way to its backend, DF or IPv6: drop, the sender is told */
	OUTCOME_OVERSIZED, /* does not fit, may be fragmented: handed up */
	OUTCOME_FRAGMENT_RELAYED, /* to the balancer that owns its datagram */
	OUTCOME_FRAGMENT_REFUSED, /* from another balancer, but no fragment for a VIP: drop */
	OUTCOME_FRAGMENT_FIRST,   /* its ports select the backend, which is remembered */
	OUTCOME_FRAGMENT_LATER,   /* to the backend of the first */
	OUTCOME_FRAGMENT_HELD,    /* before its first: handed up, sent on when that has come */
	OUTCOME_BY_ID,            /* QUIC, to the backend that the connection ID names */
	OUTCOME_FAILED,           /* the kernel refused: head room, tail call, redirect: drop */
	OUTCOME_COUNT
};

/* What happens beside the outcome; a packet may cause several or none. */
enum event {
	EVENT_INSERTED,         /* a connection entry was written into a free or expired place */
	EVENT_REPLACED,         /* a SYN took over an older entry of its flow */
	EVENT_REFUSED_FULL,     /* both buckets full: not inserted */
	EVENT_REFUSED_PRESSURE, /* above the service's limits: not inserted */
	EVENT_CAS_LOST,         /* another CPU changed the word first; looked again */
	EVENT_KEYED,            /* sent with other candidates in its key */
	EVENT_ANSWERED,         /* an ICMP error about it went back to the sender */
	EVENT_UNANSWERED,       /* none did: above the limits of its prefix, or of this CPU */
	EVENT_HANDED_UP,        /* to the slow path */
	EVENT_HAND_UP_LIMITED,  /* not handed up: its client's prefix has handed up enough for now */
	EVENT_HAND_UP_FULL,     /* not handed up: the slow path does not keep up */
	EVENT_COUNT
};

/* What backend.bpf.c does with a packet. */
enum agent_outcome {
	AGENT_NOT_OURS,          /* not encapsulated for us: pass */
	AGENT_DELIVERED,         /* decapsulated, handed up: pass */
	AGENT_FORWARDED,         /* second chance: re-encapsulated to the next candidate: tx or redirect */
	AGENT_NOT_MEMBER,        /* outer source is no member of the site: drop */
	AGENT_NOT_OUR_VIP,       /* inner destination is no VIP of this backend: drop */
	AGENT_MALFORMED,         /* drop */
	AGENT_UNKNOWN_CANDIDATE, /* next candidate is not in the map of members: drop */
	AGENT_FAILED,            /* the kernel refused: drop */
	AGENT_COUNT
};

#define BACKEND_ALIVE 1 /* cleared: dead; packets of its flows go to current */
#define BACKEND_AGENT 2 /* runs backend.bpf.c: understands the keys of second chance */
#define BACKEND_IPV6 4  /* outer header is IPv6 */

#define VIP_ECHO 1 /* answer ICMP echo */
#define VIP_OWN 2  /* no VIP, but an address of this balancer: others send fragments to it */

#define MAX_BALANCERS 256 /* of a site; index 0 is this one */
#define OWNER_SLOTS 251   /* of the table of owners: a prime */

/* Fragments of which the first was seen: regions by the client's prefix, in each buckets by datagram. */
#define FRAGMENT_REGIONS 512
#define FRAGMENT_REGION_BUCKETS 32
#define FRAGMENT_BUCKETS 16384 /* the product */
#define FRAGMENT_ENTRIES 4     /* of a bucket: 4 x 16 bytes is one cache line */
#define FRAGMENT_LIFETIME 80   /* of a first fragment, in units of the clock >> FINE_SHIFT: 5.4 s */
/* An entry's second word: backend | flags << 12 | port << 16 | age << 32 | check << 44. */
#define FRAGMENT_TCP 0x1000   /* the port is TCP's, else UDP's */
#define FRAGMENT_KNOWN 0x2000 /* the entry is in use */
#define FRAGMENT_PORT_SHIFT 16
#define FRAGMENT_AGE_SHIFT 32
#define FRAGMENT_CHECK_SHIFT 44
#define FRAGMENT_AGE_MASK 0xfff
#define FRAGMENT_CHECK_MASK 0xfffff

/* The longest frame with Ethernet header, two tags and an IPv6 packet, rounded up. */
#define HAND_UP_FRAME_BYTES 65600

/* Why a packet is handed up to the slow path. */
enum reason {
	REASON_EARLY,     /* a fragment before its first: to be held */
	REASON_OVERSIZED, /* does not fit to its backend, may be fragmented */
	REASON_RELAY,     /* a fragment that does not fit to its owner, may be fragmented further */
	REASON_COUNT
};

/* struct backend, egress: the VLAN in the lower 12 bits, and what happens to tags; 0: they stay as they came.
 */
#define EGRESS_VLAN_MASK 0xfff
#define EGRESS_TAG 0x1000   /* leaves with this tag alone */
#define EGRESS_STRIP 0x2000 /* leaves without a tag */
#define EGRESS_STALE 0x8000 /* the way is in doubt: the kernel's tables are asked for each packet */

/* What packets are wrapped in on their way to a backend, or what changes in them. */
enum forwarding {
	FORWARDING_UNSAID, /* in a backend: as the service says; in a service: GRE */
	FORWARDING_GRE,    /* outer IP, GRE */
	FORWARDING_IPIP,   /* outer IP: has no place for other candidates */
	FORWARDING_GUE,    /* outer IP, UDP, GUE */
	FORWARDING_L2,     /* nothing: only the MAC addresses change; has no place for other candidates */
	FORWARDING_NAT, /* nothing: destination address and port change; has no place for other candidates */
	FORWARDING_COUNT
};

/* How a service treats its flows. */
#define SERVICE_TRACK_ALL 1   /* every flow is in the connection table */
#define SERVICE_HASH_SOURCE 2 /* the slot comes from the client's address alone */
#define SERVICE_QUIC 4        /* UDP that is QUIC: connection IDs may name backends */
#define SERVICE_UNREACHABLE 8 /* without a backend: an ICMP error instead of silence */
#define SERVICE_HANDSHAKES 32 /* round trips are measured from SYN to ACK */
#define SERVICE_NAT_TUPLES 16 /* nat: whole tuples are kept, since several VIPs reach the same backends */

/* Who gets a new flow. All but HASH need SERVICE_TRACK_ALL. */
enum scheduler {
	SCHEDULER_HASH,              /* the slot's current */
	SCHEDULER_ROUND_ROBIN,       /* the next of the pick table */
	SCHEDULER_RANDOM,            /* the current of any slot */
	SCHEDULER_LEAST_CONNECTIONS, /* the less busy of the currents of two slots */
	SCHEDULER_COUNT
};

struct address {
	__u8 bytes[16];
};

/* Key of the maps by prefix: of the address the first `bits` count. */
struct address_prefix {
	__u32 bits; /* 0 to 128; 96 more than an IPv4 prefix has */
	__u8 address[16];
};

struct vip {
	__u32 subject; /* index of its counters: 1 .. MAX_SUBJECTS - 1 */
	__u32 flags;
};

struct service_key {
	__u32 vip;   /* subject of the VIP */
	__be16 port; /* 0: any port */
	__u8 protocol;
	__u8 zero;
};

struct service {
	__u32 subject;               /* index of counters, slot table and pressure */
	__u32 slots;                 /* size of its lookup table */
	__u32 forwarding;            /* enum forwarding */
	__u32 lifetime_ticks;        /* connection entries not touched for longer are expired; at most 3000 */
	__u32 new_per_second;        /* pressure: tracked flows per 2^30 ns (1.07 s) */
	__u32 share_entries;         /* pressure: tracked flows per lifetime */
	__u32 flags;                 /* SERVICE_* */
	__be16 nat_port;             /* nat: port of the backends; 0: as it came */
	__u8 quic_config;            /* QUIC: upper 3 bits of connection IDs that name a backend, 0 .. 6 */
	__u8 server_id_bytes;        /* QUIC: of the server ID in them, 1 .. 8 */
	__u32 prefix_new_per_second; /* new flows of a client prefix per 2^30 ns; 0: no limit */
	__u32 scheduler;             /* enum scheduler */
	__u32 salt; /* mixed into fingerprints: entries of an earlier service of this subject never match */
};

/* nat: where replies come from. */
struct nat_source {
	__u8 address[16]; /* of the backend */
	__be16 port;      /* 0: any */
	__u8 protocol;
	__u8 zero;
};

/* nat: what they must seem to come from. */
struct nat_reply {
	__u8 address[16]; /* the VIP */
	__be16 port;      /* 0: as it came */
	__u16 has_tuples; /* 1: `nat_tuples` says more, since other VIPs reach the same source */
	__u32 subject;    /* whose counters: the service's */
};

/* nat: a flow as its replies show it, where the source alone does not tell the VIP. Begins as struct
 * nat_source. */
struct nat_tuple {
	__u8 address[16];
	__be16 port;
	__u8 protocol;
	__u8 zero;
	__be16 client_port;
	__u16 zero_port;
	__u8 client[16];
};

/* One cache line. */
struct backend {
	__u8 address[16]; /* outer destination */
	__u8 source[16];  /* outer source */
	__u8 next_hop_mac[6];
	__u8 own_mac[6];
	__u32 ifindex; /* to send on; the packet's own: XDP_TX, another: redirect */
	__u32 flags;
	__u32 header_sum; /* sum of the constant 16-bit words of an outer IPv4 header with GRE, not folded */
	__u16 mtu;        /* of the path to the backend, in bytes of IP */
	__u16 weight;     /* for least-connections */
	__u8 forwarding;  /* enum forwarding; this field and the next two are read as one word */
	__u8 source_bits; /* so many of the lowest bits of `source` vary by flow: at most 15; 0 in it */
	__u16 egress;     /* EGRESS_* */
};

struct bucket {
	__u64 entry[BUCKET_ENTRIES];
};

/* Server IDs of QUIC: big-endian bytes read as a number, and whose they are: backend | subject of the service
 * << 32. An owner of 0 is an empty place. An ID stands in one of two buckets. */
struct server_ids {
	__u64 id[SERVER_ID_ENTRIES];
	__u64 owner[SERVER_ID_ENTRIES];
};

/* One for each subject; shared by all CPUs. Windows roll by compare-and-swap on the word that names them. */
struct pressure {
	__u64 second;      /* clock >> 30, in the upper 32 bits; flows tracked in it in the lower */
	__u64 period[4];   /* clock / (lifetime / 4) in the upper 32 bits; flows tracked in it in the lower */
	__u32 adopt_until; /* UDP: in unsettled slots unknown flows count as old until then; clock >>
			      FINE_SHIFT */
	__u32 turn;        /* of the scheduler: raised for every pick */
	__u32 picks;       /* length of the pick table; 0: none */
	__u32 adopt_for; /* UDP: so long, in the same unit, a flow that could not be tracked prolongs the time
			  */
	__u64 zeros;
};

/*
 * A client prefix, of which new flows of a service are counted, or (subject 0) ICMP errors sent to it, those
 * that tell what fits apart (bit 60): bit 63, subject in bits 49 .. 59, family in bit 48, then 24 bits of
 * IPv4 or 48 of IPv6. 0: nobody's.
 */
#define PREFIX_SUBJECT_SHIFT 49
#define PREFIX_IPV6 0x1000000000000
#define PREFIX_TOLD_SIZE 0x1000000000000000

/* Cells in which client prefixes are counted: prefixes.h. */
struct prefix_set {
	__u64 key[PREFIX_WAYS];
	__u64 window[PREFIX_WAYS];  /* clock >> 30 in the upper 32 bits, the count in it in the lower */
	__u32 weight[PREFIX_WAYS];  /* of the seconds before it, each half of the next */
	__u32 error[PREFIX_WAYS];   /* how much of the weight may be others' */
	__u32 since[PREFIX_WAYS];   /* the second in which the prefix took the cell */
	__u32 refused[PREFIX_WAYS]; /* uses above the limit since then */
};

/* By CPU, written by it alone. */
struct tally {
	__u64 sampler;      /* state of the generator that spreads samples */
	__u64 answered;     /* clock >> 30 in the upper 32 bits, ICMP errors sent in it in the lower */
	__u32 until_sample; /* new flows until one is counted */
	__u32 zero;
	__u64 told_size; /* as `answered`, of those that tell what fits: the others cannot use them up */
	__u32 zeros[8];
};

/*
 * What came by client prefix and service, since user space has last taken it: demand.h. Keys as of struct
 * prefix_set.
 */
struct demand_set {
	__u64 key[PREFIX_WAYS];
	__u64 bytes[PREFIX_WAYS];       /* of packets picked at random, times how many they stand for */
	__u32 connections[PREFIX_WAYS]; /* new ones */
};

/* By subject of the service: what found no place in its set, since the map was made. */
struct demand_rest {
	__u64 connections;
	__u64 bytes;
};

/*
 * At [subject * cpus + cpu]: written by that CPU alone, mapped and summed by user space. The last of a
 * subject is no CPU's: there user space adds what an earlier version counted.
 */
struct counters {
	__u64 outcome[OUTCOME_COUNT];
	__u64 event[EVENT_COUNT];
	__u64 bytes;           /* of IP packets as they arrived, of all outcomes */
	__u64 new_connections; /* TCP SYNs that open a connection, probes' too, whatever became of them */
	__u64 zero;
};

struct agent_counters {
	__u64 outcome[AGENT_COUNT];
};

/* A single entry: what all packets need. */
struct settings {
	__u64 key[2];             /* SipHash key of the site */
	__u32 probe_ifindex;      /* the prober's veth; 0: none */
	__u32 bucket_mask;        /* buckets of the connection table - 1 */
	__u32 cpus;               /* stride of the counters */
	__u32 generation;         /* raised after every change of an element of `vips` or `services` */
	__u32 hand_up_bytes;      /* that a client's prefix may hand up in 2^FINE_SHIFT ns */
	__u32 capture_every;      /* one in so many packets is shown to user space; 0: none */
	__u8 capture_address[16]; /* only those to it; zeros: to any VIP */
	__u32
	    reclaim_ticks; /* longest lifetime of any service: entries not touched for longer are nobody's */
	__u32 nat_replies; /* elements of that map; 0: what is for no VIP is no reply */
	__u32 prefix_mask; /* sets of client prefixes - 1 */
	__u32 icmp_per_prefix; /* ICMP errors to a client prefix per 2^30 ns; 0: no limit */
	__u32 icmp_per_second; /* by a CPU, per 2^30 ns */
	__u32 vip_prefixes;    /* elements of that map; 0: an address that is not in `vips` is no VIP */
	__u32 measures;        /* 1: traffic is counted by client prefix */
	__u32 zero;
};

/* Where the slow path may look a datagram up: in a bucket of `fragments`. */
struct fragment_bucket {
	__u64 datagram[FRAGMENT_ENTRIES]; /* keyed hash of addresses, protocol and identification */
	__u64 home[FRAGMENT_ENTRIES];     /* what became of the first fragment; 0: empty */
};

/* Stands in the ring `slow_path` before the frame as it came, without what follows the IP packet. */
struct hand_up {
	__u64 clock_ns;
	__u64 datagram; /* of a fragment: as in struct fragment_bucket */
	__u32 bucket;   /* of a fragment */
	__u32 check;    /* of a fragment: FRAGMENT_CHECK_SHIFT */
	__u32 reason;   /* enum reason */
	__u32 subject;  /* of the VIP, or of the service once that is known */
	__u32 backend;  /* that was chosen; for a relay the balancer */
	__u32 key;      /* other candidates */
	__u32 flow_label;
	__u32 ingress_ifindex;
	__u32 region; /* of the client's prefix */
	__u32 length; /* of the frame */
};

#define CAPTURE_BYTES 512 /* of a packet's beginning */

/* A packet as it came, and what became of it: a record of the ring `captures`. */
struct captured {
	__u64 clock_ns; /* since boot */
	__u32 length;   /* of the frame */
	__u32 captured; /* of them in `bytes` */
	__u32 ifindex;  /* that it came in on */
	__u32 subject;
	__u32 outcome;
	__u32 backend; /* 0: none */
	__u32 events;  /* a bit each */
	__u32 cpu;
	__u32 lost; /* by this CPU since the program was loaded, for want of room in the ring */
	__u32 turn; /* of those asked for since the last one */
	__u32 is_armed;
	__u32 zero;
	__u8 bytes[CAPTURE_BYTES];
};

/* Agent: a member of the site by backend index, to forward second chances to. */
struct member {
	__u8 address[16];
	__u8 next_hop_mac[6];
	__u8 own_mac[6];
	__u32 ifindex; /* 0: not a member */
	__u32 flags;   /* BACKEND_IPV6 */
	__u32 egress;  /* EGRESS_TAG or EGRESS_STRIP, with the VLAN */
};

/* Agent: a VIP and port whose UDP is QUIC. */
struct agent_port {
	__u8 vip[16];
	__be16 port; /* 0: any */
	__u8 zero[6];
};

/* Agent: the same where the VIP is a prefix. The port stands first, so that all of its bits must be equal. */
struct agent_port_prefix {
	__u32 bits;  /* 32 more than of the address */
	__be16 port; /* 0: any */
	__u16 zero;
	__u8 vip[16];
};

/* Agent: how connection IDs name this machine. */
struct agent_quic {
	__u64 id; /* the server ID as a big-endian number */
	__u8 config;
	__u8 id_bytes;
	__u8 zero[6];
};

struct agent_settings {
	__u8 address4[16]; /* this machine's outer addresses: source of forwarded packets; zero: none */
	__u8 address6[16];
	__u32 has_prefixes; /* 1: `agent_prefixes` says who is a member, not `agent_members` */
	__u32 zero;
};

/* Agent: the greatest segments that VIPs announce; 0: whatever they say. */
struct clamp_settings {
	__u32 mss_ipv4;
	__u32 mss_ipv6;
};

/* SYNs from VIPs. */
struct clamp_counters {
	__u64 lowered;
	__u64 fit;    /* announced no more */
	__u64 failed; /* the kernel refused: left as it was */
	__u64 zero;
};

#define RTT_SETS 2048 /* of client prefixes: a power of two */
#define RTT_WAYS 4    /* prefixes of a set */
#define RTT_SAMPLES 16

/*
 * Round trips by client prefix, since user space has last taken them: 5 cache lines. Key: bit 63, family in
 * bit 48, then 24 bits of IPv4 or 48 of IPv6; 0: nobody's.
 */
struct rtt_set {
	__u64 key[RTT_WAYS];
	__u32 count[RTT_WAYS]; /* how many there were; the last RTT_SAMPLES are here */
	__u32 sample[64];      /* RTT_WAYS times RTT_SAMPLES: microseconds; 0: none */
	__u32 zeros[4];
};

#define HANDSHAKES 4096 /* a power of two */

/* A flow whose SYN was seen. */
struct handshake {
	__u64 flow;  /* keyed hash; 0: none */
	__u64 began; /* ns since boot; the lowest bit: the SYN was repeated */
};

/* Agent: whose connections are looked at. */
struct rtt_settings {
	__u64 netns_cookie; /* of the machine's network namespace */
	__u64 seed;         /* of the hash of prefixes */
};

/* Of connections to VIPs, at the agent; or of handshakes that a balancer saw. Added to by all CPUs. */
struct rtt_counters {
	__u64 taken;   /* round trips that found their place */
	__u64 full;    /* that found none: more prefixes than places since the last reading */
	__u64 unknown; /* connections that told none when they opened: SYN cookies, repeated packets */
	__u64 zero;
};

/* What dns.bpf.c answers with: tables that the control side makes anew for each version of zones and map. */

#define DNS_MAX_LISTEN 16
#define DNS_MAX_EXEMPT 8
#define DNS_COOKIE_KEYS 4
#define DNS_BUCKET_NAMES 8 /* of the table of names: 8 x 8 bytes is one cache line */
#define DNS_NAME_WORDS 32
/* Words of the prefix map: src/net/prefix-map.ts. */
#define DNS_NARROW_WORDS 16
#define DNS_CHILD_BIT 0x80000000
#define DNS_NARROW_BIT 0x40000000
#define DNS_CHILD_PLACE 0x3fffffff
#define DNS_NO_VALUE 0x7fffff
#define DNS_LINE_BYTES 64
#define DNS_LINE_CHOICES 32
#define DNS_TYPES 3 /* A, AAAA, HTTPS */
#define DNS_ROWS 6  /* of a choice: each type without and with DO */

#define DNS_ASKER_WAYS 2
#define DNS_ASKER_FAMILY_SHIFT 56 /* 4, of a /24; 6, of a /48 */
#define DNS_ASKER_LENGTH_SHIFT 48 /* of a subnet: its length, where it is shorter */

/* Lines of the region of rate limits: src/serve/dns/rate-limit.ts. */
#define DNS_LIMIT_SETS 16384
#define DNS_PROVED_SETS 4096
#define DNS_LIMIT_LINES 18433 /* the last: word 0 is the seed */
#define DNS_LIMIT_WAYS 4
#define DNS_TICKS_PER_MS 1024
#define DNS_BURST_TICKS 1024000
#define DNS_MAX_DEBT_TICKS 2048000

/* Where every packet that reaches dns.bpf.c ends: exactly one each. */
enum dns_outcome {
	DNS_NOT_OURS,  /* not UDP to an address and port that is served: pass */
	DNS_ANSWERED,  /* tx */
	DNS_LIMITED,   /* above the limit of answers: drop */
	DNS_UP_PACKET, /* a fragment, IP options, a source that is never answered: these and all below pass */
	DNS_UP_MESSAGE, /* no plain query of one question */
	DNS_UP_TYPE,    /* another type or class */
	DNS_UP_NAME,    /* a name that is not steered */
	DNS_UP_EDNS,    /* options that are not understood here */
	DNS_UP_SOURCE,  /* the client subnet is shorter than the map needs */
	DNS_UP_CHOICE,  /* no answer is ready: nothing is healthy, or each answer is another */
	DNS_UP_SIZE,    /* does not fit */
	DNS_UP_SLIP,    /* above the limit of answers, but its turn to get a short one */
	DNS_UP_STALE,   /* the process has not been heard of for too long */
	DNS_UP_FAILED,  /* the kernel gave no room */
	DNS_BROKEN,     /* cannot be: drop */
	DNS_COUNT
};

/* What an answer says: AnswerKind of rate-limit.ts. */
#define DNS_KIND_POSITIVE 1
#define DNS_KIND_NODATA 2

/* A single entry. */
struct dns_settings {
	__u64 listen_address[32]; /* DNS_MAX_LISTEN of two words; an IPv4 address is mapped */
	__be16 listen_port[DNS_MAX_LISTEN];
	__u64 exempt_address[16]; /* DNS_MAX_EXEMPT of two words, as the next */
	__u64 exempt_mask[16];
	__u64 cookie_key[8];  /* DNS_COOKIE_KEYS of two words */
	__u64 unix_offset_ns; /* Unix time less the clock since boot */
	__u64 alive_until_ns; /* since boot: until then the process is believed to be there */
	__u32 listens;
	__u32 exempts;        /* more than DNS_MAX_EXEMPT: the process judges */
	__u32 cookie_keys;    /* 0: cookies are not known; more than DNS_COOKIE_KEYS: passed up */
	__u32 bucket_mask;    /* buckets of names - 1 */
	__u32 limit_interval; /* ticks between two answers; 0: no limits */
	__u32 proved_interval;
	__u32 slip; /* one in so many refused ones gets a short answer; 0: none */
	__u32 seed;
	__u32 rows;       /* stride of the hits */
	__u32 asker_mask; /* sets of askers - 1; 0: askers are not counted */
};

/* By the lowest bits of a name's hash; a slot is the highest 32 bits of the hash and the name's index + 1. 0:
 * empty. */
struct dns_bucket {
	__u64 slot[DNS_BUCKET_NAMES];
};

struct dns_name {
	__u32 words;     /* of text */
	__u32 subject;   /* in limits */
	__u32 node_base; /* first line of its prefix map in `dns_nodes` */
	__u32 plan_base; /* of its plans, which leaves name, in `dns_choices` */
	__u32 row_base;  /* of its first choice in `dns_rows` */
	__u32 zero;
	__u64 text[DNS_NAME_WORDS]; /* as on the wire, in lower case, zeros behind */
};

/* A line of a prefix map: a narrow node, or the 16th part of a wide one. */
struct dns_node {
	__u32 word[DNS_NARROW_WORDS];
};

/* What plans of this index and the next ones answer now: 1 + a choice of the name; 0: ask the process. */
struct dns_choices {
	__u16 choice[DNS_LINE_CHOICES];
};

/* A ready-made section. */
struct dns_row {
	__u32 line;   /* first of its bytes */
	__u16 length; /* 0: none */
	__u16 sum;    /* of its bytes as 16-bit words in wire order, from an even offset on, folded */
	__u8 answers;
	__u8 authorities;
	__u8 kind; /* DNS_KIND_* */
	__u8 zero;
	__u32 zeros;
};

struct dns_line {
	__u8 bytes[DNS_LINE_BYTES];
};

struct dns_limit_line {
	__u32 word[16];
};

/*
 * Who asked for what: queries for A that were answered. A tag is a keyed hash of resolver, subnet and row,
 * never 0, and written before what stands beside it. Prefixes are their first bytes on the wire, the first
 * the lowest, with the family and, of a subnet, its length; 0: no subnet, or a resolver that is not written
 * yet.
 */
struct dns_asker_set {
	__u64 tag[DNS_ASKER_WAYS];
	__u64 resolver[DNS_ASKER_WAYS];
	__u64 subnet[DNS_ASKER_WAYS];
	__u32 row[DNS_ASKER_WAYS]; /* without DO */
	__u32 queries[DNS_ASKER_WAYS];
};

/* At [cpu], written by that CPU alone. */
struct dns_counters {
	__u64 outcome[DNS_COUNT];
	__u64 edns; /* of those answered, as the next ones */
	__u64 ecs;
	__u64 cookie_client; /* without a server's part */
	__u64 cookie_good;
	__u64 cookie_bad;
	__u64 displaced;       /* limits that another prefix took the place of while they were in use */
	__u64 bytes;           /* of the messages sent */
	__u64 unplaced_askers; /* queries for which no asker had a place */
	__u64 zero;
};

#endif
