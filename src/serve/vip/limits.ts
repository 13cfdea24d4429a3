/** Longest lifetime of a connection entry in ticks of 4.29 s (3.6 h): ages wrap after 4096, the sweeper clears from 3000. */
export const MAX_LIFETIME_TICKS = 3000;

/** Sets of four client prefixes whose new flows and ICMP errors are counted: 16,384 prefixes in 512 KiB. */
export const PREFIX_SETS = 4096;
/** ICMP errors a second (2^30 ns) that a balancer sends to a client prefix (/24, /48), and that one of its CPUs sends in all. */
export const ICMP_PER_PREFIX = 100;
export const ICMP_PER_SECOND = 10_000;
