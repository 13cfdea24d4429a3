/**
 * The clients of the breakage lab: one process in a client's namespace that holds thousands of connections and flows from many
 * addresses. Its options are its first argument, as JSON; orders come on standard input; it ends when that is closed.
 */
import { createInterface } from 'node:readline';
import { HeldConnection, type HeldEvents } from './held-connection.ts';
import { HeldFlow } from './held-flow.ts';
import type { Broken, HeldAmount, HeldClientOptions, HeldCounts, HeldOrder, HeldSnapshot } from './held-report.ts';
import { ANSWER_BYTES } from './messages.ts';
import { noteLateness, ownMs } from './own-clock.ts';

const TURN_MS = 20;
/** Breaks of a variant that are told one by one; beyond that `open` tells. */
const MAX_BROKEN = 20_000;
const MAX_REFUSALS = 3;
/** In one turn: more would hold up those that are open. */
const MAX_BEGINNINGS = 40;

const options = JSON.parse(process.argv[2] as string) as HeldClientOptions;
const turns = Math.round(options.periodMs / TURN_MS);

interface Held {
  readonly connections: HeldConnection[];
  readonly flows: HeldFlow[];
  counts: HeldCounts;
  broken: Broken[];
}

function emptyCounts(): HeldCounts {
  return {
    open: 0,
    opening: 0,
    opened: 0,
    flowsOpened: 0,
    refused: 0,
    refusals: [],
    flowsOpen: 0,
    flowsOpening: 0,
    answers: 0,
    slowestMs: 0,
    bytes: 0,
    byBackend: {},
  };
}

const held = new Map<string, Held>(
  options.targets.map(({ variant }) => [variant, { connections: [], flows: [], counts: emptyCounts(), broken: [] }]),
);
/** What is still to be begun, so that it is not one burst. */
const pending: (() => void)[] = [];
let ordinal = 0;
let life = 0;
let lateMs = 0;

function sourceFor(vip: string): string {
  const sources = vip.includes(':') ? options.sources6 : options.sources4;
  return sources[ordinal % sources.length] as string;
}

function note(one: Held, broken: Broken): void {
  if (one.broken.length < MAX_BROKEN) one.broken.push(broken);
}

function refuse(counts: HeldCounts, why: string): void {
  if (counts.refused++ < MAX_REFUSALS) counts.refusals.push(why);
}

function beginConnection(one: Held, vip: string): void {
  const { counts } = one;
  const born = life;
  const isNow = (): boolean => born === life;
  const events: HeldEvents = {
    opened() {
      counts.opening--;
      counts.open++;
      counts.opened++;
      counts.byBackend[connection.backend] = (counts.byBackend[connection.backend] ?? 0) + 1;
    },
    answered(tookMs) {
      counts.answers++;
      counts.bytes += ANSWER_BYTES;
      if (tookMs > counts.slowestMs) counts.slowestMs = tookMs;
    },
    broken(why) {
      if (!isNow()) return;
      counts.open--;
      counts.byBackend[connection.backend] = (counts.byBackend[connection.backend] ?? 0) - 1;
      const { backend, from } = connection;
      note(one, { kind: 'tcp', atMs: Date.now(), backend, why, from, migrated: false });
    },
    refused(why) {
      counts.opening--;
      refuse(counts, `${connection.from} to ${vip}: ${why}`);
    },
  };
  const connection = new HeldConnection(ordinal++, vip, sourceFor(vip), options, events);
  counts.opening++;
  one.connections.push(connection);
}

function beginFlow(one: Held, vip: string): void {
  const { counts } = one;
  const events: HeldEvents = {
    opened() {
      counts.flowsOpening--;
      counts.flowsOpen++;
      counts.flowsOpened++;
    },
    answered(tookMs) {
      if (tookMs > counts.slowestMs) counts.slowestMs = tookMs;
    },
    broken(why) {
      counts.flowsOpen--;
      const { backend, from, migrated } = flow;
      note(one, { kind: 'quic', atMs: Date.now(), backend, why, from, migrated });
    },
    refused(why) {
      counts.flowsOpening--;
      refuse(counts, `QUIC-like ${flow.from} to ${vip}: ${why}`);
    },
  };
  const flow = new HeldFlow(ordinal++, vip, sourceFor(vip), options.limitMs, events);
  counts.flowsOpening++;
  one.flows.push(flow);
}

function open(amounts: Readonly<Record<string, HeldAmount>>): void {
  const most = Math.max(...Object.values(amounts).flatMap(({ connections, flows }) => [connections, flows]));
  for (let index = 0; index < most; index++)
    for (const { variant, vips } of options.targets) {
      const { connections = 0, flows = 0 } = amounts[variant] ?? {};
      const one = held.get(variant) as Held;
      const vip = vips[index % vips.length] as string;
      if (index < connections) pending.push(() => beginConnection(one, vip));
      if (index < flows) pending.push(() => beginFlow(one, vip));
    }
  pending.reverse();
}

function migrate(every: number): void {
  for (const { flows } of held.values())
    for (let index = 0; index < flows.length; index += every) {
      const flow = flows[index] as HeldFlow;
      ordinal++;
      flow.migrate(sourceFor(flow.from));
    }
}

function drop(count: number): void {
  for (const { connections, counts } of held.values())
    for (const connection of connections.splice(-count)) {
      if (connection.state === 'open') {
        counts.open--;
        counts.byBackend[connection.backend] = (counts.byBackend[connection.backend] ?? 0) - 1;
      }
      connection.close();
    }
}

function close(): void {
  lateMs = 0;
  life++;
  pending.length = 0;
  for (const one of held.values()) {
    for (const connection of one.connections.splice(0)) connection.close();
    for (const flow of one.flows.splice(0)) flow.close();
    one.counts = emptyCounts();
    one.broken = [];
  }
}

function snapshot(ask: number): HeldSnapshot {
  const variants = Object.fromEntries(
    [...held].map(([variant, { counts, broken }]) => [variant, { ...counts, broken: [...broken] }]),
  );
  const { user, system } = process.cpuUsage();
  return { ask, variants, cpuMs: Math.round((user + system) / 1000), lateMs };
}

let turn = 0;
let beginnings = 0;
const startMs = performance.now();
let lastMs = startMs;

/** Each connection has its turn once in a period, at a time of its own. */
function giveTurns(own: number, nowMs: number): void {
  for (const { connections, flows } of held.values()) {
    for (let index = own; index < connections.length; index += turns) connections[index]?.turn(nowMs);
    for (let index = own % 10; index < flows.length; index += 10) flows[index]?.turn(nowMs, index % turns === own);
  }
}

function tick(): void {
  const nowMs = performance.now();
  lateMs = Math.max(lateMs, nowMs - lastMs - TURN_MS);
  noteLateness(nowMs - lastMs - TURN_MS);
  beginnings = Math.min(beginnings + ((nowMs - lastMs) / 1000) * options.openPerSecond, options.openPerSecond);
  lastMs = nowMs;
  beginnings = Math.min(beginnings, MAX_BEGINNINGS);
  for (; beginnings >= 1 && pending.length > 0; beginnings--) pending.pop()?.();
  const wanted = Math.floor((nowMs - startMs) / TURN_MS);
  for (turn = Math.max(turn, wanted - turns); turn < wanted; turn++) giveTurns(turn % turns, ownMs());
}

setInterval(tick, TURN_MS);

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const order = JSON.parse(line) as HeldOrder;
    if (order.do === 'open') open(order.amounts);
    else if (order.do === 'migrate') migrate(order.every);
    else if (order.do === 'drop') drop(order.connections);
    else if (order.do === 'close') close();
    else process.stdout.write(`${JSON.stringify(snapshot(order.ask))}\n`);
  })
  .on('close', () => process.exit(0));
process.stdout.on('error', () => process.exit(0)); // the parent is gone
