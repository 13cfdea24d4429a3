/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What stands on the wire, and the numbers in it. Fields are in wire order.
 * Own structs instead of <linux/ip.h> because those carry bit-fields, and single bytes are clearer here.
 */
#ifndef PORTICO_WIRE_H
#define PORTICO_WIRE_H

#include <linux/types.h>

#define ETHERNET_BYTES 14
#define VLAN_TAG_BYTES 4
#define MAX_VLAN_TAGS 2
#define IPV4_BYTES 20
#define IPV6_BYTES 40
#define TCP_BYTES 20
#define UDP_BYTES 8
#define ICMP_BYTES 8
#define GRE_BYTES 4
#define GUE_BYTES 4
/* The other candidates of a second chance: the key of GRE, private data of GUE. */
#define KEY_BYTES 4

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_QINQ 0x88a8

#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_ICMP 1
#define PROTOCOL_IPV4 4 /* RFC 2003 */
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_IPV6 41 /* RFC 2473, RFC 4213 */
#define PROTOCOL_ROUTING 43
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_GRE 47
#define PROTOCOL_AH 51
#define PROTOCOL_ICMPV6 58
#define PROTOCOL_NONE 59
#define PROTOCOL_DESTINATION_OPTIONS 60

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_FLAGS 0x3f /* all but those of ECN */

#define IPV4_DF 0x4000
#define IPV4_MORE 0x2000
/* More fragments and the offset: either makes the packet a fragment. */
#define IPV4_FRAGMENT_MASK 0x3fff
/* The offset alone: all but the first fragment. */
#define IPV4_OFFSET_MASK 0x1fff
/* The same as IPV4_FRAGMENT_MASK in the IPv6 fragment header, whose bits 1 and 2 are reserved. */
#define IPV6_FRAGMENT_MASK 0xfff9

#define GRE_KEY_PRESENT 0x2000
#define GUE_PORT 6080
/* Source ports of GUE: RFC 6335's dynamic ones, 14 bits of the flow hash. */
#define GUE_SOURCE_PORTS 0xc000
#define GUE_SOURCE_MASK 0x3fff
#define OUTER_TTL 64

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__be16 type;
};

struct ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

struct ipv6 {
	__be32 version_class_label;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	__be32 source[4];
	__be32 destination[4];
};

/* The part of TCP and UDP headers that is looked at. */
struct ports {
	__be16 source;
	__be16 destination;
};

struct udp {
	struct ports ports;
	__be16 length;
	__be16 checksum;
};

struct tcp {
	struct ports ports;
	__be32 sequence;
	__be32 acknowledgement;
	__u8 data_offset; /* in the upper 4 bits, in words of 4 bytes */
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct icmp {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 id;
	__be16 sequence;
};

struct gre {
	__be16 flags_version;
	__be16 protocol;
};

/* draft-ietf-intarea-gue, version 0. */
struct gue {
	__u8 version_length; /* version 2 bits, control 1, words of 4 bytes behind this header 5 */
	__u8 protocol;
	__be16 flags;
};

#endif
