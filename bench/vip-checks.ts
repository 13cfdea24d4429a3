/**
 * The targets of `bench vip`, of times net of the loop unless they say otherwise; each says in its words what the ratio
 * with the loop in it is.
 */
import type { BenchCheck } from './report.ts';
import type { Family } from './vip-bed.ts';
import { type Kind, type Lane, lane } from './vip-lanes.ts';
import type { Rounds } from './vip-rounds.ts';

const FAMILIES: readonly Family[] = [4, 6];
/** What is not for a VIP costs the machine's other traffic, so this alone is a bound in nanoseconds. */
const MOST_NS: Partial<Record<Kind, number>> = { 'not-vip': 15, 'not-vip-prefix': 30 };

/** `most`: the greatest number of flows that was measured. */
export function checkTargets(rounds: Rounds, most: number): BenchCheck[] {
  const checks: BenchCheck[] = [];
  for (const family of FAMILIES) {
    for (const protocol of ['tcp', 'udp'] as const) {
      checks.push(...checkAgainstClassic(rounds, lane({ family, protocol, flows: most })));
    }
    checks.push(...checkMessages(rounds, lane({ family, flows: most })));
  }
  return [...checks, ...checkFamilies(rounds, most), ...checkProtocols(rounds, most), ...checkOthers(rounds)];
}

/** `stable`: by GRE. The aims are for TCP over IPv4; the others are held to somewhat less, so that none falls behind. */
function checkAgainstClassic(rounds: Rounds, stable: Lane): BenchCheck[] {
  const isFirst = stable.family === 4 && stable.protocol === 'tcp';
  const where = `IPv${stable.family} ${stable.protocol}, ${stable.flows} flows`;
  const classic: Lane = { ...stable, tracking: 'classic' };
  const ipip: Lane = { ...stable, mode: 'ipip' };
  const flood: Lane = { ...stable, kind: 'new' };
  const faster = isFirst ? 5 : 4;
  return [
    ...rounds.checkRatio(`${where}: stable by GRE faster than classic by`, [classic, stable], 'at least', faster),
    ...rounds.checkRatio(`${where}: stable by IP in IP faster than classic by`, [classic, ipip], 'at least', faster),
    ...rounds.checkRatio(
      `${where}: new flows faster than classic's inserts by`,
      [{ ...classic, kind: 'new' }, flood],
      'at least',
      8,
    ),
    ...rounds.checkRatio(
      `${where}: all unsettled faster than classic by`,
      [classic, { ...stable, table: 'unsettled100' }],
      'at least',
      isFirst ? 2 : 1.5,
    ),
    // The lookup table is no longer in the first cache, and one new flow in 64 is counted by prefix.
    ...rounds.checkRatio(
      `${where}: stable slower than with one flow by`,
      [stable, { ...stable, flows: 1 }],
      'at most',
      4 / 3,
    ),
    ...rounds.checkRatio(
      `${where}: a flood on a stable table against established packets`,
      [flood, stable],
      'at most',
      1.25,
    ),
    ...rounds.checkRatio(`${where}: GUE against IP in IP`, [{ ...stable, mode: 'gue' }, ipip], 'at most', 1.15),
    ...(['l2', 'nat'] as const).flatMap((mode) =>
      // They have another loop around them than the tunnels.
      rounds.checkRatio(`${where}: ${mode} against GRE`, [{ ...stable, mode }, stable], 'at most', 1.3, 'gross'),
    ),
  ];
}

/** ICMP errors, and IPv4 packets that are told too big, against a forwarded packet. */
function checkMessages(rounds: Rounds, stable: Lane): BenchCheck[] {
  const error: Lane = { ...stable, kind: 'error' };
  const where = `IPv${stable.family}`;
  const checks = rounds.checkRatio(`${where} ICMP error against a packet of its flow`, [error, stable], 'at most', 1.5);
  // Over IPv6 1,280 bytes go back, with a checksum over all of them.
  if (stable.family === 6) return checks;
  const tooBig: Lane = { ...stable, kind: 'too-big' };
  return [
    ...checks,
    ...rounds.checkRatio(`${where} too big against a forwarded packet`, [tooBig, stable], 'at most', 1.5),
  ];
}

/** IPv6 against IPv4, in what both do. */
function checkFamilies(rounds: Rounds, flows: number): BenchCheck[] {
  return (['tcp', 'udp'] as const).flatMap((protocol) => {
    const [ipv4, ipv6] = FAMILIES.map((family) => lane({ family, protocol, flows }));
    return rounds.checkRatio(`${protocol}, ${flows} flows: IPv6 against IPv4`, [ipv6, ipv4], 'at most', 1.3);
  });
}

/** What is no TCP costs as much, also where connection IDs are read. */
function checkProtocols(rounds: Rounds, flows: number): BenchCheck[] {
  return FAMILIES.flatMap((family) =>
    (['udp', 'quic'] as const).flatMap((protocol) => {
      const tcp = lane({ family, flows });
      return rounds.checkRatio(
        `IPv${family}, ${flows} flows: ${protocol} against tcp`,
        [{ ...tcp, protocol }, tcp],
        'at most',
        1.15,
      );
    }),
  );
}

function checkOthers(rounds: Rounds): BenchCheck[] {
  return Object.entries(MOST_NS).flatMap(([kind, limitNs]) =>
    FAMILIES.flatMap((family) => rounds.checkTime(lane({ family, kind: kind as Kind }), limitNs)),
  );
}
