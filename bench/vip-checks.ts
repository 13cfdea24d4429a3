/** The targets of `bench vip`, of medians net of the baseline; each says in its words what the ratio with it would be. */
import { type BenchCase, type BenchCheck, checkThat } from './report.ts';

/** Two measurements of the same thing differ by this much. */
const NOISE = 1.05;
const MAX_NOT_VIP_NS = 15;

interface Search {
  readonly ip: string | number;
  readonly protocol: string | number;
  readonly kind: string;
  readonly flows: number;
  readonly table: string;
  readonly tracking: string;
  readonly mode: string;
}

function findCase(cases: readonly BenchCase[], search: Search): BenchCase | undefined {
  const entries = Object.entries(search);
  return cases.find((one) => entries.every(([name, value]) => one.params[name] === value));
}

/** ICMP errors, and IPv4 packets that are told too big, against a forwarded packet. */
function checkIcmp(cases: readonly BenchCase[], ip: 4 | 6, stable: BenchCase): BenchCheck[] {
  const find = (message: string) =>
    cases.find(({ params }) => params.ip === ip && params.protocol === 'icmp' && params.message === message);
  const [error, tooBig] = [find('error'), find('too-big')];
  if (error === undefined || tooBig === undefined) return [];
  const checks = [ratioCheck(`IPv${ip} ICMP error against a packet of its flow`, error, stable, 'at most', 1.5)];
  // Over IPv6 1,280 bytes go back, with a checksum over all of them.
  if (ip === 4) checks.push(ratioCheck('IPv4 too big against a forwarded packet', tooBig, stable, 'at most', 1.5));
  return checks;
}

/** One set of checks for each family and protocol, of the greatest number of flows that was measured. */
export function checkTargets(cases: readonly BenchCase[]): BenchCheck[] {
  const most = Math.max(...cases.map((one) => Number(one.params.flows)));
  const checks: BenchCheck[] = [];
  for (const ip of [4, 6]) {
    for (const protocol of ['tcp', 'udp']) {
      const find = (kind: string, flows: number, table: string, tracking: string, mode = 'gre') =>
        findCase(cases, { ip, protocol, kind, flows, table, tracking, mode });
      const stable = find('established', most, 'stable', 'just-enough');
      const one = find('established', 1, 'stable', 'just-enough');
      const unsettled = find('established', most, 'unsettled100', 'just-enough');
      const flood = find('new', most, 'stable', 'just-enough');
      const classic = find('established', most, 'stable', 'classic');
      const inserts = find('new', most, 'stable', 'classic');
      const ipip = find('established', most, 'stable', 'just-enough', 'ipip');
      const gue = find('established', most, 'stable', 'just-enough', 'gue');
      if (!stable || !one || !unsettled || !flood || !classic || !inserts || !ipip || !gue) continue;
      const where = `IPv${ip} ${protocol}, ${most} flows`;
      // IPv6 takes longer to hash and its keys are the classic program's too; how much longer is a target of its own.
      const isFirst = ip === 4 && protocol === 'tcp';
      const faster = isFirst ? 5 : 4;
      if (protocol === 'tcp') checks.push(...checkIcmp(cases, ip as 4 | 6, stable));
      checks.push(
        ratioCheck(`${where}: stable by GRE faster than classic by`, classic, stable, 'at least', faster),
        ratioCheck(`${where}: stable by IP in IP faster than classic by`, classic, ipip, 'at least', faster),
        ratioCheck(`${where}: new flows faster than classic's inserts by`, inserts, flood, 'at least', 8),
        ratioCheck(`${where}: all unsettled faster than classic by`, classic, unsettled, 'at least', isFirst ? 2 : 1.5),
        ratioCheck(`${where}: stable slower than with one flow by`, stable, one, 'at most', 4 / 3),
        ratioCheck(`${where}: a flood on a stable table against established packets`, flood, stable, 'at most', NOISE),
        ratioCheck(`${where}: GUE against IP in IP`, gue, ipip, 'at most', 1.15),
        ...['l2', 'nat'].flatMap((mode) => {
          const bare = find('established', most, 'stable', 'just-enough', mode);
          return bare
            ? [ratioCheck(`${where}: ${mode} against GRE, gross`, gross(bare), gross(stable), 'at most', 1.3)]
            : [];
        }),
      );
    }
  }
  return [...checks, ...checkFamilies(cases, most), ...checkProtocols(cases, most), ...checkOthers(cases)];
}

/** What is no TCP costs as much, also where connection IDs are read. */
function checkProtocols(cases: readonly BenchCase[], flows: number): BenchCheck[] {
  return [4, 6].flatMap((ip) => {
    const find = (protocol: string) =>
      findCase(cases, {
        ip,
        protocol,
        kind: 'established',
        flows,
        table: 'stable',
        tracking: 'just-enough',
        mode: 'gre',
      });
    const tcp = find('tcp');
    return ['udp', 'quic'].flatMap((protocol) => {
      const other = find(protocol);
      const text = `IPv${ip}, ${flows} flows: ${protocol} against tcp`;
      return tcp && other ? [ratioCheck(text, other, tcp, 'at most', 1.15)] : [];
    });
  });
}

/** IPv6 against IPv4, in what both do. */
function checkFamilies(cases: readonly BenchCase[], flows: number): BenchCheck[] {
  return ['tcp', 'udp'].flatMap((protocol) => {
    const both = { protocol, kind: 'established', flows, table: 'stable', tracking: 'just-enough', mode: 'gre' };
    const [ipv4, ipv6] = [4, 6].map((ip) => findCase(cases, { ip, ...both }));
    return ipv4 && ipv6
      ? [ratioCheck(`${protocol}, ${flows} flows: IPv6 against IPv4`, ipv6, ipv4, 'at most', 1.3)]
      : [];
  });
}

/** What is not for a VIP costs the machine's other traffic, so this alone is a bound in nanoseconds. */
function checkOthers(cases: readonly BenchCase[]): BenchCheck[] {
  return cases
    .filter(({ params }) => params.kind === 'not-vip')
    .map((one) => checkThat(`${one.case}, ns`, one.median, 'at most', MAX_NOT_VIP_NS));
}

/** The time of a case with the loop around it: l2 and nat have another baseline than the tunnels. */
function gross(one: BenchCase): BenchCase {
  return { ...one, median: one.gross?.median ?? Number.NaN };
}

function ratioCheck(
  text: string,
  above: BenchCase,
  below: BenchCase,
  must: 'at least' | 'at most',
  limit: number,
): BenchCheck {
  const gross = (above.gross?.median ?? Number.NaN) / (below.gross?.median ?? Number.NaN);
  return checkThat(`${text} (gross ${gross.toFixed(2)})`, above.median / below.median, must, limit);
}
