/** What the acts of a row may use, and the acts of which most rows are made. */
import type { Config } from '../../config/model.ts';
import type { AttackKind } from '../attack/attack-frames.ts';
import type { World } from './world.ts';

export interface Stage {
  readonly world: World;
  /** Opens the rest of the connections; those that are begun between two acts are the ones that a change may catch. */
  openRest(): Promise<void>;
  /** Every third flow goes on from another address. */
  migrate(): void;
  /** The last of them end, in order. */
  drop(connections: number): void;
  /** So much of the row's time passes: 0.1 is 6 s of 60. */
  pass(share: number): Promise<void>;
  wait(ms: number): Promise<void>;
  /** Packets a second to the VIPs of the held services, over some seconds. */
  packetRate(): Promise<number>;
  /** Packets of a kind to the held services' VIPs until the function that it gives is called. */
  flood(kind: AttackKind, perSecond: number): Promise<() => Promise<void>>;
  say(text: string): void;
}

export type Act = (stage: Stage) => Promise<void> | void;

export interface Row {
  readonly name: string;
  readonly summary: string;
  /** Packets change balancers while slots are unsettled: `ipip` has no second chance, so nothing is promised for it. */
  readonly reshufflesUnsettled?: boolean;
  /** The first variant is held alone, then the others: what the row does would be too much for this machine otherwise. */
  readonly apart?: boolean;
  /** How the row begins; by default without the spare backend. */
  begin?(world: World): Config;
  /** With Portico running, before connections are opened. */
  prepare?(world: World): Promise<void>;
  readonly acts: readonly Act[];
}

/** A backend that is not there when rows begin: it is the one that is added. */
export const SPARE = 'n7';
const PAUSE = 0.1;

/** As rows begin, but also without these. */
export function without(world: World, ...names: readonly string[]): Config {
  return world.config([SPARE, ...names]);
}

/** The rest of the connections is opened, and flows move: what both do in the middle of a change is what may break. */
export const openAndMove: Act = async ({ openRest, migrate }) => {
  await openRest();
  migrate();
};

/** So many pauses of a tenth of the row's time. */
export function pause(times = 1): Act {
  return ({ pass }) => pass(times * PAUSE);
}

export function drain(name: string): Act {
  return ({ world }) => world.drain(name);
}

export function undrain(name: string): Act {
  return ({ world }) => world.undrain(name);
}

/** Drained as an operator does it: the next process knows. */
export function drainForGood(name: string): Act {
  return async ({ world }) => {
    await world.drain(name);
    world.runtime.keepDrains();
  };
}

/** The configuration becomes another. */
export function turnInto(config: (world: World) => Config): Act {
  return ({ world }) => world.apply(config(world));
}

export const addSpare: Act = turnInto((world) => world.config([]));

/** The process ends and leaves what is in the kernels and routers; after `meanwhile` another one starts. */
export function restart(meanwhile: Act): Act {
  return (stage) => stage.world.restart(async () => meanwhile(stage));
}
