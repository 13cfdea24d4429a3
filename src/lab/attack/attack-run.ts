/**
 * The attack run: an attacker sends everything bad at once at fixed rates while connections carry data; first against a program
 * in front of Portico that only drops the attack (the control run), then against Portico alone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HeldSnapshot } from '../breakage/held-report.ts';
import type { HeldTraffic } from '../breakage/held-traffic.ts';
import type { World } from '../breakage/world.ts';
import { startAttack } from './attack.ts';
import type { AttackKind } from './attack-frames.ts';
import { dropInFront } from './drop-in-front.ts';

export const ATTACK_RATES: Readonly<Partial<Record<AttackKind, number>>> = {
  syn: 8_000,
  fragments: 3_000,
  malformed: 3_000,
  encapsulated: 3_000,
  icmp: 3_000,
};
/** Of the control run's goodput. */
export const GOODPUT_SHARE = 0.8;

export interface AttackStep {
  readonly step: 'control' | 'attack';
  readonly openBefore: number;
  readonly broken: number;
  readonly quic: number;
  readonly quicBroken: number;
  /** Bytes of answers a second while the attack went on. */
  readonly goodputBytesPerSecond: number;
  readonly slowestMs: number;
  readonly sentPerSecond: Readonly<Record<string, number>>;
  /** Packets a second to the VIPs that reached Portico, users' too. */
  readonly arrivedPerSecond: number;
  readonly expected: string;
  readonly ok: boolean;
  readonly why: readonly string[];
}

export interface AttackReport {
  readonly scenario: 'attack';
  readonly ok: boolean;
  readonly connections: number;
  readonly seconds: number;
  /** Goodput of the attack run as a share of the control run's. */
  readonly goodputShare: number;
  /** Packets that the attacker sent, as a share of the control run's: far below 1, the machine was too busy for a comparison. */
  readonly attackShare: number;
  readonly steps: readonly AttackStep[];
}

export interface AttackRunOptions {
  readonly connections: number;
  readonly flows: number;
  readonly seconds: number;
  readonly rates: Readonly<Partial<Record<AttackKind, number>>>;
  say(text: string): void;
}

const OPEN_LIMIT_MS = 60_000;
const CALM_MS = 2_000;
const MAX_WHY = 3;

interface Window {
  readonly last: HeldSnapshot;
  readonly goodput: number;
  readonly arrivedPerSecond: number;
  readonly sentPerSecond: Readonly<Record<string, number>>;
}

/** Attacks for the time given; a third in, a backend is drained, so that connections depend on tracking. */
async function attackFor(
  world: World,
  traffic: HeldTraffic,
  variant: string,
  options: AttackRunOptions,
): Promise<Window> {
  const { rates, seconds } = options;
  const attack = await startAttack(world.lab, { targets: world.targets([variant]), perSecond: rates, seed: 1 });
  const before = await traffic.snapshot();
  const packets = world.countPackets([variant]);
  const beganMs = performance.now();
  await sleep((seconds * 1000) / 3);
  await world.drain('n1');
  await sleep((seconds * 1000 * 2) / 3);
  const last = await traffic.snapshot();
  const span = (performance.now() - beganMs) / 1000;
  const arrived = world.countPackets([variant]) - packets;
  const { sent, seconds: attacked } = await attack.stop();
  const bytes = (last.variants[variant]?.bytes ?? 0) - (before.variants[variant]?.bytes ?? 0);
  return {
    last,
    goodput: Math.round(bytes / span),
    arrivedPerSecond: Math.round(arrived / span),
    sentPerSecond: Object.fromEntries(
      Object.entries(sent).map(([kind, count]) => [kind, Math.round(count / attacked)]),
    ),
  };
}

async function runStep(
  world: World,
  traffic: HeldTraffic,
  step: 'control' | 'attack',
  controlGoodput: number | null,
  options: AttackRunOptions,
): Promise<AttackStep> {
  const { connections, flows } = options;
  const variant = world.variants[0] as string;
  const undo: (() => void)[] = [];
  try {
    await world.startPortico(world.config([]));
    if (step === 'control')
      for (const { netns } of world.lab.machinesOf('balancer')) undo.push(dropInFront(netns, 'eth0'));
    await traffic.open({ [variant]: { connections, flows } }, OPEN_LIMIT_MS);
    await sleep(CALM_MS);
    const { last, goodput, ...rates } = await attackFor(world, traffic, variant, options);
    const counts = last.variants[variant];
    if (counts === undefined) throw new Error('lab: nothing was held');
    const tcp = counts.broken.filter(({ kind }) => kind === 'tcp').length;
    const enough = controlGoodput === null || goodput >= GOODPUT_SHARE * controlGoodput;
    return {
      step,
      openBefore: counts.open + tcp,
      broken: tcp,
      quic: counts.flowsOpen + counts.broken.length - tcp,
      quicBroken: counts.broken.length - tcp,
      goodputBytesPerSecond: goodput,
      slowestMs: Math.round(counts.slowestMs),
      ...rates,
      expected:
        controlGoodput === null
          ? 'no connection breaks'
          : `no connection breaks; at least ${GOODPUT_SHARE * 100} % of the control run's goodput`,
      ok: counts.broken.length === 0 && enough,
      why: [
        ...counts.broken
          .slice(0, MAX_WHY)
          .map(({ kind, from, backend, why }) => `${kind} ${from} on n${backend}: ${why}`),
        ...(enough ? [] : [`goodput is ${Math.round((100 * goodput) / (controlGoodput ?? 1))} % of the control run's`]),
      ],
    };
  } finally {
    traffic.order({ do: 'close' });
    for (const one of undo) one();
    await world.stopPortico();
  }
}

export async function runAttack(world: World, traffic: HeldTraffic, options: AttackRunOptions): Promise<AttackReport> {
  const { connections, seconds, say } = options;
  say(`control: the attack meets a program that only drops it, for ${seconds} s ...`);
  const control = await runStep(world, traffic, 'control', null, options);
  say(`  ${renderAttackStep(control)}`);
  say(`attack: the attack meets Portico, for ${seconds} s ...`);
  const attack = await runStep(world, traffic, 'attack', control.goodputBytesPerSecond, options);
  say(`  ${renderAttackStep(attack)}`);
  const goodputShare = attack.goodputBytesPerSecond / control.goodputBytesPerSecond;
  const attackShare = sentBy(attack) / sentBy(control);
  return {
    scenario: 'attack',
    ok: control.ok && attack.ok,
    connections,
    seconds,
    goodputShare: Math.round(goodputShare * 1000) / 1000,
    attackShare: Math.round(attackShare * 1000) / 1000,
    steps: [control, attack],
  };
}

function sentBy({ sentPerSecond }: AttackStep): number {
  return Object.values(sentPerSecond).reduce((sum, rate) => sum + rate, 0);
}

function renderAttackStep(step: AttackStep): string {
  const sent = Object.entries(step.sentPerSecond).map(([kind, rate]) => `${kind} ${rate}`);
  return [
    `${step.broken} of ${step.openBefore} connections broken, ${step.quicBroken} of ${step.quic} QUIC-like flows; goodput ${Math.round(step.goodputBytesPerSecond / 1000)} kB/s; slowest answer ${step.slowestMs} ms: ${step.ok ? 'held' : 'DID NOT HOLD'}`,
    `sent a second: ${sent.join(', ')}; packets to the VIPs that reached Portico: ${step.arrivedPerSecond}/s`,
    ...step.why,
  ].join('\n      ');
}
