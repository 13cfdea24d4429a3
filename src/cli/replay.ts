/** `portico replay`: captured frames through the balancer's program or its model, without any interface. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Balancer, Config } from '../config/model.ts';
import { addressKey } from '../model/engine.ts';
import { EVENTS, OUTCOMES } from '../model/layout.ts';
import type { Verdict } from '../model/packet.ts';
import { processFrame } from '../model/packet-path.ts';
import { parseIp } from '../model/parse.ts';
import { type CapturedFrame, type CommentedFrame, readCapture, writePcapng } from '../model/pcap.ts';
import { readUint16 } from '../net/ethernet.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, CommandError, printJson, stringOption, UsageError } from './command.ts';
import { loadConfig } from './configuration.ts';
import { readDecision } from './decision-comment.ts';
import { createReplayEngine, REPLAY_BUCKETS, REPLAY_IFINDEX, type ReplayEngine } from './replay-engine.ts';

const OBJECTS = join(import.meta.dirname, '../../build/bpf');
const HASH_KEY = /^[0-9a-f]{32}\s*$/;
/** The program needs an Ethernet header at least. */
const MIN_FRAME_BYTES = 14;
/** An IPv4 packet and its Ethernet header with two tags. */
const MAX_FRAME_BYTES = 65_535 + 22;
/** Of `macOf`'s index in the destination. */
const MAC_INDEX_OFFSET = 4;

export interface Decision {
  readonly frame: number;
  readonly verdict: Verdict;
  readonly outcome: string;
  readonly service: string | null;
  readonly backend: string | null;
  /** Of the resulting frame, in bytes. */
  readonly length: number;
  /** The resulting frame in hexadecimal, as far as it was captured. */
  readonly bytes: string;
  /** What became of the packet when it was captured, where the file says so and it was something else. */
  readonly was?: { readonly outcome: string; readonly service: string | null; readonly backend: string | null };
}

/** Runs a frame; what it does to state stays for the next. */
type Run = (frame: Uint8Array) => {
  readonly verdict: string;
  readonly outcome: string;
  readonly subject: number;
  readonly frame: Uint8Array;
};

interface Engine {
  readonly run: Run;
  close(): void;
}

export const command: Command = {
  name: 'replay',
  summary: 'run captured packets through the balancer',
  usage: 'FILE.pcap --config FILE [--engine kernel|model] [--balancer NAME] [--out FILE.pcapng] [--json]',
  example: './portico replay capture.pcap --config examples/two-sites.yaml --engine model',
  options: {
    config: { type: 'string', placeholder: 'FILE', help: 'the configuration of the balancer' },
    engine: { type: 'string', placeholder: 'NAME', help: 'kernel (default; needs root) or model' },
    balancer: { type: 'string', placeholder: 'NAME', help: 'which balancer; default: the first of the configuration' },
    out: { type: 'string', placeholder: 'FILE', help: 'write resulting frames with decisions as comments (pcapng)' },
  },
  async run(args) {
    const [file] = takePositionals(args, ['FILE.pcap']) as [string];
    const configFile = stringOption(args, 'config', '');
    if (configFile === '') throw new UsageError('--config FILE is missing.');
    const config = loadConfig(configFile);
    const balancer = chooseBalancer(config, stringOption(args, 'balancer', ''));
    const captured = readFrames(file);
    const replay = createReplayEngine(config, balancer, readHashKey(config, balancer.site));
    const engine = await openEngine(args, replay);
    try {
      replayFrames(args, captured, replay, engine.run);
    } finally {
      engine.close();
    }
    return 0;
  },
};

function chooseBalancer(config: Config, name: string): Balancer {
  const names = [...config.balancers.keys()];
  const balancer = config.balancers.get(name === '' ? (names[0] ?? '') : name);
  if (balancer !== undefined) return balancer;
  if (names.length === 0) throw new CommandError('The configuration has no balancer.');
  throw new CommandError(`There is no balancer "${name}" in the configuration; there are ${names.join(', ')}.`);
}

function readFrames(file: string): readonly CapturedFrame[] {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new CommandError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}.`);
  }
  const capture = readCapture(bytes);
  if (!capture.ok)
    throw new CommandError(`${file} is no capture that can be read: ${capture.reason} (byte ${capture.offset}).`);
  return capture.frames;
}

/** The key from the configuration, or the one that a balancer of the site keeps; zeros, and a word about it, if neither is there. */
function readHashKey(config: Config, site: string): Uint8Array {
  const configured = config.sites.get(site)?.hashKey ?? null;
  if (configured !== null) return configured;
  const file = join(config.stateFolder, 'hash-keys', `${site}.hex`);
  if (existsSync(file)) {
    const text = readFileSync(file, 'utf8');
    if (HASH_KEY.test(text)) return Buffer.from(text.trim(), 'hex');
  }
  process.stderr.write(
    `portico replay: site ${site} has no hash key here (neither hashKey nor ${file}); a key of zeros is used, so flows may go to other backends than on the site's balancers.\n`,
  );
  return new Uint8Array(16);
}

async function openEngine(args: CommandArguments, replay: ReplayEngine): Promise<Engine> {
  const name = stringOption(args, 'engine', 'kernel');
  if (name === 'model') {
    const clock = { high: 1, low: 0 };
    return { run: (frame) => processFrame(replay.engine, frame, REPLAY_IFINDEX, clock), close() {} };
  }
  if (name !== 'kernel') throw new UsageError(`There is no engine "${name}"; there are kernel and model.`);
  return openKernel(replay);
}

/** The outcome is read from the counters: exactly one of them moves with every packet. */
async function openKernel(replay: ReplayEngine): Promise<Engine> {
  const { COUNTER_FIELDS, openKernelEngine } = await import('./replay-kernel.ts');
  if (process.getuid?.() !== 0) throw new CommandError('The kernel engine needs root; --engine model does not.');
  const kernel = openKernelEngine(OBJECTS, REPLAY_BUCKETS);
  kernel.load(replay.engine);
  const { vips, vipPrefixes } = replay.engine;
  const known = [...vips.values(), ...vipPrefixes.map(({ vip }) => vip)];
  const subjects = [0, ...known.map(({ subject }) => subject), ...replay.services.keys()];
  const before = new Map(subjects.map((subject) => [subject, new Float64Array(COUNTER_FIELDS)]));
  const now = new Float64Array(COUNTER_FIELDS);
  const moved = (): { outcome: string; subject: number } => {
    for (const [subject, old] of before) {
      kernel.readCounters(subject, now);
      const field = now.findIndex((count, i) => i < COUNTER_FIELDS - EVENTS.length - 1 && count !== old[i]);
      if (field < 0) continue;
      old.set(now);
      return { outcome: OUTCOMES[field], subject };
    }
    throw new Error('the program counted nothing');
  };
  const run: Run = (frame) => {
    if (frame.length < MIN_FRAME_BYTES) return { verdict: 'pass', outcome: 'not-ip', subject: 0, frame };
    const result = kernel.run(frame);
    return { verdict: result.verdict, ...moved(), frame: result.frame };
  };
  return { run, close: () => kernel.close() };
}

function replayFrames(
  args: CommandArguments,
  captured: readonly CapturedFrame[],
  replay: ReplayEngine,
  run: Run,
): void {
  const commented: CommentedFrame[] = [];
  let [compared, changed] = [0, 0];
  captured.forEach(({ timeNs, bytes, originalBytes, comment }, i) => {
    const result = run(asLongAs(bytes, originalBytes));
    const past = readDecision(comment);
    const grown = result.frame.length - Math.max(bytes.length, originalBytes);
    const frame = result.frame.subarray(0, Math.max(0, bytes.length + grown));
    const now: Decision = {
      frame: i + 1,
      verdict: result.verdict as Verdict,
      outcome: result.outcome,
      service: replay.services.get(result.subject) ?? null,
      backend: backendOf(replay, result.outcome, result.frame),
      length: result.frame.length,
      bytes: Buffer.from(frame).toString('hex'),
    };
    const isKnown = past !== null && canCompare(replay, past) && canCompare(replay, now);
    const differs = isKnown && (past.service !== now.service || past.backend !== now.backend);
    const { outcome, service, backend } = past ?? now;
    const decision = differs ? { ...now, was: { outcome, service, backend } } : now;
    if (isKnown) compared++;
    if (differs) changed++;
    if (args.json) printJson(decision);
    else process.stdout.write(`${describe(decision)}\n`);
    commented.push({ timeNs, bytes: frame, originalBytes: originalBytes + grown, comment: describe(decision) });
  });
  if (!args.json) process.stdout.write(summaryOf(captured, compared, changed));
  const out = stringOption(args, 'out', '');
  if (out === '') return;
  try {
    writeFileSync(out, writePcapng(commented));
  } catch (error) {
    throw new CommandError(`${out} cannot be written: ${(error as NodeJS.ErrnoException).code}.`);
  }
}

/** Empty where no packet says what became of it. */
function summaryOf(captured: readonly CapturedFrame[], compared: number, changed: number): string {
  const past = captured.filter(({ comment }) => readDecision(comment) !== null).length;
  if (past === 0) return '';
  const left = past - compared;
  const others = left === 0 ? '' : `; ${left} not compared, as their way depends on what came before them`;
  return `${changed} of ${compared} packets would go elsewhere than when they were captured${others}\n`;
}

/** Captures keep the beginning of a packet; lengths are checked, and what follows is only carried. */
function asLongAs(bytes: Uint8Array, originalBytes: number): Uint8Array {
  if (originalBytes <= bytes.length || originalBytes > MAX_FRAME_BYTES) return bytes;
  const whole = new Uint8Array(originalBytes);
  whole.set(bytes);
  return whole;
}

/** Went to a backend. */
const FORWARDED: readonly string[] = [
  'settled',
  'tracked',
  'new',
  'adopted',
  'untracked',
  'probe',
  'by-id',
  'icmp-error',
  'fragment-first',
  'fragment-later',
];
/** What packets before it left behind decides: limits, fragments, other balancers. */
const BY_THE_PAST: readonly string[] = [
  'limited',
  'fragment',
  'fragment-held',
  'fragment-later',
  'fragment-relayed',
  'fragment-refused',
  'oversized',
  'too-big',
];

function canCompare({ uncertain }: ReplayEngine, { outcome, service }: Pick<Decision, 'outcome' | 'service'>): boolean {
  return !BY_THE_PAST.includes(outcome) && !uncertain.has(service ?? '');
}

/** Whose address the outer destination is, or by nat the only one; by l2 whose next hop it goes to. */
function backendOf(replay: ReplayEngine, outcome: string, frame: Uint8Array): string | null {
  const ip = FORWARDED.includes(outcome) ? parseIp(frame) : null;
  if (ip === null) return null;
  const index =
    replay.indices.get(addressKey(frame, ip.destinationOffset, ip.addressBytes)) ?? readUint16(frame, MAC_INDEX_OFFSET);
  return replay.backends.get(index) ?? null;
}

function describe({ frame, verdict, outcome, service, backend, length, was }: Decision): string {
  const before = was === undefined ? '' : ` (was ${was.outcome}${targetOf(was)})`;
  return `frame ${frame}: ${verdict}, ${outcome}${targetOf({ service, backend })}, ${length} bytes${before}`;
}

function targetOf({ service, backend }: Pick<Decision, 'service' | 'backend'>): string {
  return [service === null ? '' : ` service ${service}`, backend === null ? '' : ` -> ${backend}`].join('');
}
