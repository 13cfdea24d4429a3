/** Longest lifetime of a connection entry in ticks of 4.29 s (3.6 h): ages wrap after 4096, the sweeper clears from 3000. */
export const MAX_LIFETIME_TICKS = 3000;
