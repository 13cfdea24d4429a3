/**
 * The attacker: a process that sends frames out of a namespace's interface at fixed rates until its standard input is closed; then it says
 * what it sent, as a line of JSON. Its options are its first argument, as JSON.
 */
import { parseAddress } from '../../net/address.ts';
import { interfaceIndexIn } from '../../serve/vip/netns.ts';
import { PacketSocket } from '../../serve/vip/packet-socket.ts';
import { ATTACK_KINDS, type AttackKind, type AttackTarget, attackFrame } from './attack-frames.ts';

export interface AttackSourceOptions {
  readonly netns: string;
  readonly interfaceName: string;
  /** Of the next hop: `02:00:...`. */
  readonly mac: string;
  readonly targets: readonly { readonly vip: string; readonly port: number }[];
  readonly perSecond: Readonly<Partial<Record<AttackKind, number>>>;
  readonly seed: number;
}

export interface AttackSent {
  readonly sent: Readonly<Record<string, number>>;
  readonly refused: number;
  readonly seconds: number;
  readonly cpuMs: number;
}

const TURN_MS = 5;
/** Frames of each kind are made once and sent again and again: making one costs more than sending it. */
const STOCK = 8192;
/** What a late turn may make up for. */
const MAX_TURN_MS = 100;

const options = JSON.parse(process.argv[2] as string) as AttackSourceOptions;

/** A small generator with a seed (mulberry32): a run can be repeated. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const random = seeded(options.seed);
const mac = Uint8Array.from(options.mac.split(':'), (part) => Number.parseInt(part, 16));
const targets = options.targets.map(({ vip, port }): AttackTarget => ({ vip: parseAddress(vip)!, port }));
const ifindex = interfaceIndexIn(options.netns, options.interfaceName);
const socket = new PacketSocket(options.netns);
const floods = ATTACK_KINDS.filter((kind) => (options.perSecond[kind] ?? 0) > 0).map((kind) => ({
  kind,
  perSecond: options.perSecond[kind] as number,
  stock: Array.from({ length: STOCK }, (_, index) =>
    attackFrame(kind, targets[index % targets.length] as AttackTarget, mac, random),
  ),
  next: 0,
  due: 0,
}));

const startMs = performance.now();
let lastMs = startMs;
const timer = setInterval(() => {
  const nowMs = performance.now();
  const spanMs = Math.min(nowMs - lastMs, MAX_TURN_MS);
  lastMs = nowMs;
  for (const flood of floods) {
    flood.due += (flood.perSecond * spanMs) / 1000;
    for (; flood.due >= 1; flood.due--) {
      socket.send(ifindex, flood.stock[flood.next % STOCK] as Uint8Array);
      flood.next++;
    }
  }
}, TURN_MS);

process.stdin
  .on('end', () => {
    clearInterval(timer);
    const { user, system } = process.cpuUsage();
    const report: AttackSent = {
      sent: Object.fromEntries(floods.map(({ kind, next }) => [kind, next])),
      refused: [...socket.refused.values()].reduce((sum, count) => sum + count, 0),
      seconds: (performance.now() - startMs) / 1000,
      cpuMs: Math.round((user + system) / 1000),
    };
    process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
  })
  .resume();
process.stdout.write('ready\n');
