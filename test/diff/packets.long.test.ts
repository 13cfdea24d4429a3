/** The differential test at length: ten million packets of the known seed, five million of a new one. Some minutes; needs root. */
process.env.PORTICO_PACKETS ??= '10000000';
await import('./packets.test.ts');
