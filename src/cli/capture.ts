/** `portico capture`: live packets with what became of them, for Wireshark and for `portico replay`. */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { ShownPacket } from '../api/source.ts';
import { readDuration } from '../config/units.ts';
import { pcapngFrame, pcapngHeader } from '../model/pcap.ts';
import { API_OPTION, streamApi } from './api-client.ts';
import { takePositionals } from './arguments.ts';
import { type Command, type CommandArguments, CommandError, printJson, stringOption, UsageError } from './command.ts';
import { writeDecision } from './decision-comment.ts';

const PROGRESS_MS = 1_000;
/** Portico itself ends a capture then. */
const MAX_MS = 600_000;

type Line = ShownPacket | { readonly lost: number };

export const command: Command = {
  name: 'capture',
  summary: 'record live packets with what became of them',
  usage: '--out FILE.pcapng [--vip ADDRESS] [--balancer NAME] [--every N] [--count N] [--for TIME] [--json]',
  example: './portico capture --vip 192.0.2.10 --for 10s --out packets.pcapng',
  options: {
    out: { type: 'string', placeholder: 'FILE', help: 'packets as they came, with decisions as comments (pcapng)' },
    vip: { type: 'string', placeholder: 'ADDRESS', help: 'only packets to this VIP (default: to any)' },
    balancer: { type: 'string', placeholder: 'NAME', help: 'only through this balancer (default: all that run there)' },
    every: { type: 'string', placeholder: 'N', help: 'one packet in so many (default 1)' },
    count: { type: 'string', placeholder: 'N', help: 'end after so many packets' },
    for: {
      type: 'string',
      placeholder: 'TIME',
      help: 'end after this time, such as 10s (default: at Ctrl-C; at most 10m)',
    },
    ...API_OPTION,
  },
  async run(args) {
    takePositionals(args, []);
    const out = stringOption(args, 'out', '');
    if (out === '' && !args.json)
      throw new UsageError('--out FILE.pcapng is missing (or --json, to see a line a packet).');
    const file = out === '' ? null : openFile(out);
    try {
      await record(args, file);
    } finally {
      if (file !== null) closeSync(file);
    }
    return 0;
  },
};

function openFile(path: string): number {
  try {
    const file = openSync(path, 'w', 0o600); // users' packets
    writeSync(file, pcapngHeader());
    return file;
  } catch (error) {
    throw new CommandError(`${path} cannot be written: ${(error as NodeJS.ErrnoException).code}.`);
  }
}

async function record(args: CommandArguments, file: number | null): Promise<void> {
  const limit = numberOption(args, 'count');
  const limitMs = durationOption(args);
  const ending = new AbortController();
  const end = () => ending.abort();
  const timer = limitMs === null ? undefined : setTimeout(end, limitMs);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  let [packets, lost] = [0, 0];
  const progress = setInterval(() => tell(`${packets} packets${lost === 0 ? '' : `, ${lost} missed`}`), PROGRESS_MS);
  const query = {
    vip: stringOption(args, 'vip', ''),
    balancer: stringOption(args, 'balancer', ''),
    every: stringOption(args, 'every', '1'),
  };
  try {
    for await (const line of streamApi<Line>(args, '/capture', query, ending.signal)) {
      if ('lost' in line) {
        lost = line.lost;
        continue;
      }
      packets++;
      if (args.json) printJson(line);
      if (file !== null) writeSync(file, pcapngFrame(frameOf(line)));
      if (packets >= limit) break;
    }
  } finally {
    clearInterval(progress);
    clearTimeout(timer);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, end);
    ending.abort();
  }
  tell(`${packets} packets${lost === 0 ? '' : `, ${lost} missed: ask for one in more by --every`}`);
}

function tell(text: string): void {
  process.stderr.write(`portico capture: ${text}\n`);
}

function frameOf(packet: ShownPacket) {
  const bytes = Buffer.from(packet.bytes, 'hex');
  return { timeNs: BigInt(packet.timeNs), bytes, originalBytes: packet.length, comment: writeDecision(packet) };
}

function numberOption(args: CommandArguments, name: string): number {
  const text = stringOption(args, name, '');
  if (text === '') return Number.POSITIVE_INFINITY;
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new UsageError(`--${name} takes a number of packets, not "${text}".`);
  return Number(text);
}

function durationOption(args: CommandArguments): number | null {
  const text = stringOption(args, 'for', '');
  if (text === '') return null;
  const duration = readDuration(text, 1, MAX_MS);
  if (!duration.ok) throw new UsageError(`--for: ${duration.message}; ${duration.remedy}.`);
  return duration.value;
}
