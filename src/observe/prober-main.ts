/**
 * The prober's process: it stands in the network namespace that its probes come from, because Node makes sockets when it
 * likes, not while a thread is visiting a namespace. Orders on standard input, results on standard output, one JSON
 * object a line. It ends with its standard input, so it never outlives its parent.
 */
import { createInterface } from 'node:readline';
import { nextProbeMs } from '../decide/health.ts';
import { probe } from './probe.ts';
import type { ProberOrder, ProbeTarget } from './probe-target.ts';

interface Schedule {
  readonly text: string;
  stopped: boolean;
  timer: NodeJS.Timeout | undefined;
}

/** Probes that may run at once; further ones wait for one to end. So many time out together when a whole site is lost. */
const MAX_RUNNING = 500;

let running = 0;
const waiting: (() => void)[] = [];

const schedules = new Map<string, Schedule>();

function start(target: ProbeTarget, text: string): void {
  const schedule: Schedule = { text, stopped: false, timer: undefined };
  schedules.set(target.id, schedule);
  const turn = async (): Promise<void> => {
    if (running >= MAX_RUNNING) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    const began = performance.now();
    const result = schedule.stopped ? null : await probe(target);
    // Whoever waits longest takes over the place.
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
    if (result === null || schedule.stopped) return;
    process.stdout.write(`${JSON.stringify(result)}\n`);
    // The next probe of a target begins only after the last has ended.
    const due = nextProbeMs(began, target.intervalMs, Math.random());
    schedule.timer = setTimeout(turn, Math.max(0, due - performance.now()));
  };
  // The first probes are spread over a tenth of the interval: quick, but not all in one instant.
  schedule.timer = setTimeout(turn, (Math.random() * target.intervalMs) / 10);
}

function stop(id: string): void {
  const schedule = schedules.get(id);
  if (schedule === undefined) return;
  schedule.stopped = true;
  clearTimeout(schedule.timer);
  schedules.delete(id);
}

function obey(order: ProberOrder): void {
  const wanted = new Map(order.targets.map((target) => [target.id, target]));
  for (const [id, schedule] of [...schedules]) {
    const target = wanted.get(id);
    if (target === undefined || JSON.stringify(target) !== schedule.text) stop(id);
  }
  for (const [id, target] of wanted) if (!schedules.has(id)) start(target, JSON.stringify(target));
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => obey(JSON.parse(line) as ProberOrder));
lines.on('close', () => process.exit(0));
process.stdout.on('error', () => process.exit(0));
// The parent decides when to end; an interrupt from the terminal goes to the whole group.
process.on('SIGINT', () => {});
