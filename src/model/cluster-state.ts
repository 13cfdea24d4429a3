/**
 * The state of a small site - controller, balancers, backends, flows - in which the model of several balancers plays
 * random histories (cluster.ts). One state is made once and reset for each history: a million of them are run.
 */
import { silenceTicks, tickOf } from '../decide/slot-word.ts';
import { createSlotTable, type SlotTable } from '../decide/slots.ts';
import { type ConnectionTable, createConnectionTable, type FlowPlaces } from './connections.ts';
import type { PacketKind } from './insert.ts';
import { BACKEND_AGENT, BACKEND_ALIVE } from './layout.ts';
import { PRESSURE_WORDS, type PressureWords } from './pressure.ts';
import { createSelection, SELECT_RULES, type Selection, type SelectRequest, type SelectRules } from './select.ts';

export const MAX_BALANCERS = 3;
/** Indices 1 .. MAX_INDEX. */
export const MAX_INDEX = 5;
export const MAX_SLOTS = 2;
export const MAX_FLOWS = 4;
const BUCKETS = 2;

/** The silence that the site waits for before it settles, in ticks. */
export const SILENCE_TICKS = 6;
/**
 * What agents' listings wait for after the last acknowledgement and the last departure: no entry is young any more, and what was
 * sent by one has arrived.
 */
export const REPORT_WAIT_TICKS = 2;
/** For so long a SYN may be on its way to a backend. */
export const FLIGHT_TICKS = 1;
/**
 * So many SYNs of a flow come so quickly one after the other that each finds the entry of the last young: first retransmissions, of which
 * the gaps double, or ports that are used again at once. This and FLIGHT_TICKS is what REPORT_WAIT_TICKS waits for.
 */
export const QUICK_SYNS = 2;

/** Rules that can be taken out, to show that each is needed. */
export interface ClusterFaults extends SelectRules {
  readonly settlesByEquality: boolean;
  readonly switchesAtOnce: boolean;
  /** The settling step goes straight to settled. */
  readonly settlesInOneGo: boolean;
  /** Settling by silence does not wait after a balancer has left. */
  readonly forgetsDepartures: boolean;
  /** A balancer clears the dead before it writes the slots. */
  readonly buriesBeforeSlots: boolean;
  /** A balancer closes a slot also where it has not been silent since the look. */
  readonly neverDeclines: boolean;
  /** A slot keeps its tick when `current` changes. */
  readonly keepsTickOnSwitch: boolean;
  /** Settling by silence does not ask whether agents have passed packets on. */
  readonly ignoresSecondChances: boolean;
  /** Agents' listings need not be younger than the acknowledgements. */
  readonly takesOldReports: boolean;
  /** They need to be, but need not wait for what is on its way. */
  readonly reportsAtOnce: boolean;
  /** One listing without a connection is enough, although it is not taken in one instant. */
  readonly takesOneReport: boolean;
  /** Of entries. The age of one that data touches may lag by two ticks, so it is more than the silence. */
  readonly lifetimeTicks: number;
}

export const NO_FAULTS: ClusterFaults = {
  ...SELECT_RULES,
  settlesByEquality: false,
  switchesAtOnce: false,
  settlesInOneGo: false,
  forgetsDepartures: false,
  buriesBeforeSlots: false,
  neverDeclines: false,
  keepsTickOnSwitch: false,
  ignoresSecondChances: false,
  takesOldReports: false,
  reportsAtOnce: false,
  takesOneReport: false,
  lifetimeTicks: 7,
};

export interface BalancerState {
  isUp: boolean;
  /** Routers send flows to it. */
  isServing: boolean;
  /** The newest epoch that stands whole in its maps. */
  applied: number;
  /** The epoch that is being written, and how far: -1 is not begun. */
  writing: number;
  stage: number;
  readonly slots: SlotTable;
  /** As in a slot's word: 12 bits. */
  readonly tick: Int32Array;
  readonly generation: Int32Array;
  /** 1: the closing of the slot is published, but it was not silent here when it was to be written. */
  readonly declines: Uint8Array;
  readonly backendFlags: Uint32Array;
  readonly connections: ConnectionTable;
  readonly pressure: PressureWords;
  isPressed: boolean;
}

export interface ControllerState {
  epoch: number;
  readonly table: SlotTable;
  readonly desired: Uint16Array;
  /** Epoch of the last change of a slot. */
  readonly slotEpoch: Int32Array;
  /** By index: 1 while the controller takes the backend for alive. */
  readonly believed: Uint8Array;
  readonly deathEpoch: Int32Array;
  readonly acknowledged: Int32Array;
  /** When a balancer's latest acknowledgement came. */
  readonly acknowledgedAt: Int32Array;
  /** By balancer and slot: declined in that acknowledgement. */
  readonly declined: Uint8Array;
  /** Slot epoch of the last look that found nothing left; -1: none. */
  readonly lookedAt: Int32Array;
  departedAt: number;
  /** By index and slot: when the first and the last of the agent's listings in a row without a connection was taken; -1: the last had one. */
  readonly emptySince: Int32Array;
  readonly emptyAt: Int32Array;
  /** When any agent last passed a packet on to another backend. */
  passedOnAt: number;
}

export interface FlowState {
  readonly slot: number;
  readonly places: FlowPlaces;
  /** The balancer that routers send it to. */
  route: number;
  /** The machine that accepted the connection; 0: not live. */
  owner: number;
  lastPacket: number;
  /** False: was silent for longer than the site waits; the promise does not cover it. */
  isCovered: boolean;
  openedAt: number;
  /** When its last SYN was sent, and how many came quickly one after the other. */
  synAt: number;
  quickSyns: number;
  /** A SYN on its way: to which machine under which index (0: none), sent when. */
  flightIndex: number;
  flightMachine: number;
  flightAt: number;
}

export interface Cluster {
  readonly faults: ClusterFaults;
  hasAgents: boolean;
  settlesBy: 'silence' | 'reports';
  balancerCount: number;
  indexCount: number;
  slotCount: number;
  flowCount: number;
  now: number;
  readonly balancers: readonly BalancerState[];
  readonly controller: ControllerState;
  readonly flows: readonly FlowState[];
  /** By index: the machine's own number, which changes when an index is used again. */
  readonly machine: Int32Array;
  /** By index: 1 while the machine runs. */
  readonly runs: Uint8Array;
  /** Published states: slots' fields, then who lives, by epoch. */
  readonly published: Uint16Array;
  readonly request: SelectRequest;
  readonly selection: Selection;
  violation: string | null;
  trace: ((text: string) => void) | null;
}

const UNLIMITED = 0x7fffffff;
const FIELDS = 4;
export const PUBLISHED_STRIDE = MAX_SLOTS * FIELDS + MAX_INDEX + 1;

export function createCluster(maxEpochs: number, faults: ClusterFaults = NO_FAULTS): Cluster {
  const balancers = Array.from({ length: MAX_BALANCERS }, createBalancer);
  return {
    faults,
    hasAgents: true,
    settlesBy: 'silence',
    balancerCount: 0,
    indexCount: 0,
    slotCount: 0,
    flowCount: 0,
    now: 0,
    balancers,
    controller: {
      epoch: 0,
      table: createSlotTable(MAX_SLOTS),
      desired: new Uint16Array(MAX_SLOTS),
      slotEpoch: new Int32Array(MAX_SLOTS),
      believed: new Uint8Array(MAX_INDEX + 1),
      deathEpoch: new Int32Array(MAX_INDEX + 1),
      acknowledged: new Int32Array(MAX_BALANCERS),
      acknowledgedAt: new Int32Array(MAX_BALANCERS),
      declined: new Uint8Array(MAX_BALANCERS * MAX_SLOTS),
      lookedAt: new Int32Array(MAX_SLOTS),
      departedAt: 0,
      emptySince: new Int32Array((MAX_INDEX + 1) * MAX_SLOTS),
      emptyAt: new Int32Array((MAX_INDEX + 1) * MAX_SLOTS),
      passedOnAt: 0,
    },
    flows: Array.from({ length: MAX_FLOWS }, (_, flow) => createFlow(flow)),
    machine: new Int32Array(MAX_INDEX + 1),
    runs: new Uint8Array(MAX_INDEX + 1),
    published: new Uint16Array((maxEpochs + 2) * PUBLISHED_STRIDE),
    request: createRequest(balancers[0], faults.lifetimeTicks),
    selection: createSelection(),
    violation: null,
    trace: null,
  };
}

function createBalancer(): BalancerState {
  return {
    isUp: false,
    isServing: false,
    applied: 0,
    writing: 0,
    stage: -1,
    slots: createSlotTable(MAX_SLOTS),
    tick: new Int32Array(MAX_SLOTS),
    generation: new Int32Array(MAX_SLOTS),
    declines: new Uint8Array(MAX_SLOTS),
    backendFlags: new Uint32Array(MAX_INDEX + 1),
    connections: createConnectionTable(BUCKETS),
    pressure: new Uint32Array(PRESSURE_WORDS),
    isPressed: false,
  };
}

/** Flows 0 and 2 share slot 0; all share the two buckets. */
function createFlow(flow: number): FlowState {
  const places = { firstBucket: flow & 1, secondBucket: (flow & 1) ^ 1, fingerprintLow: 0, fingerprintHigh: 0 };
  const flight = { flightIndex: 0, flightMachine: 0, flightAt: 0, synAt: 0, quickSyns: 0 };
  return {
    slot: flow % MAX_SLOTS,
    places,
    route: 0,
    owner: 0,
    lastPacket: 0,
    isCovered: false,
    openedAt: 0,
    ...flight,
  };
}

function createRequest(balancer: BalancerState, lifetimeTicks: number): SelectRequest {
  return {
    current: 0,
    previous: 0,
    third: 0,
    kind: 'tcp' as PacketKind,
    flow: { firstBucket: 0, secondBucket: 0, fingerprintLow: 0, fingerprintHigh: 0 },
    clock: { high: 0, low: 0 },
    adopting: false,
    limits: { lifetimeTicks, newPerSecond: 0, shareEntries: UNLIMITED },
    reclaimTicks: lifetimeTicks,
    connections: balancer.connections,
    pressure: balancer.pressure,
    backendFlags: balancer.backendFlags,
  };
}

/** A fresh site; its sizes come from the random bits of `shape`. */
export function resetCluster(cluster: Cluster, shape: number): void {
  cluster.hasAgents = (shape & 3) !== 0;
  cluster.settlesBy = cluster.hasAgents && (shape & 4) !== 0 ? 'reports' : 'silence';
  cluster.balancerCount = cluster.hasAgents ? 2 + ((shape >>> 3) & 1) : 1 + ((shape >>> 3) & 1);
  cluster.indexCount = 3 + ((shape >>> 4) % 3);
  cluster.slotCount = (shape & 0x300) === 0 ? 2 : 1;
  cluster.flowCount = cluster.slotCount === 2 ? 4 : 1 + ((shape >>> 10) % 3);
  // Some histories run over the end of the ticks' range.
  cluster.now = (shape & 0x7000) === 0 ? 4000 : 100;
  cluster.violation = null;
  resetController(cluster);
  for (let b = 0; b < cluster.balancerCount; b++) {
    startBalancer(cluster, cluster.balancers[b]);
    cluster.balancers[b].isServing = true;
  }
  for (let f = 0; f < cluster.flowCount; f++) {
    const flow = cluster.flows[f] as FlowState & { slot: number };
    flow.slot = f % cluster.slotCount;
    flow.route = f % cluster.balancerCount;
    flow.owner = 0;
    flow.lastPacket = 0;
    flow.isCovered = false;
    flow.flightIndex = 0;
    flow.synAt = 0;
    flow.quickSyns = 0;
  }
}

function resetController(cluster: Cluster): void {
  const { controller } = cluster;
  controller.epoch = 0;
  controller.departedAt = 0;
  controller.passedOnAt = 0;
  controller.deathEpoch.fill(0);
  controller.slotEpoch.fill(0);
  controller.acknowledged.fill(0);
  controller.acknowledgedAt.fill(0);
  controller.declined.fill(0);
  controller.lookedAt.fill(-1);
  controller.emptySince.fill(-1);
  for (let index = 1; index <= MAX_INDEX; index++) {
    const exists = index <= cluster.indexCount ? 1 : 0;
    cluster.machine[index] = index;
    cluster.runs[index] = exists;
    controller.believed[index] = exists;
  }
  const { table, desired } = controller;
  for (let slot = 0; slot < MAX_SLOTS; slot++) {
    desired[slot] = 1 + slot;
    table.current[slot] = 1 + slot;
    table.previous[slot] = 0;
    table.third[slot] = 0;
    table.unsettled[slot] = 0;
  }
  storePublished(cluster);
}

/** Keeps the controller's state under its epoch, for balancers to fetch. */
export function storePublished(cluster: Cluster): void {
  const { controller, published } = cluster;
  let at = controller.epoch * PUBLISHED_STRIDE;
  for (let slot = 0; slot < MAX_SLOTS; slot++) {
    published[at++] = controller.table.current[slot];
    published[at++] = controller.table.previous[slot];
    published[at++] = controller.table.third[slot];
    published[at++] = controller.table.unsettled[slot];
  }
  for (let index = 0; index <= MAX_INDEX; index++) published[at++] = controller.believed[index];
}

/** A balancer comes up with an empty connection table and the controller's state of now. It does not serve yet. */
export function startBalancer(cluster: Cluster, balancer: BalancerState): void {
  balancer.isUp = true;
  balancer.isServing = false;
  balancer.isPressed = false;
  balancer.connections.words.fill(0);
  balancer.connections.active.fill(0);
  balancer.pressure.fill(0);
  balancer.slots.unsettled.fill(0);
  balancer.declines.fill(0);
  for (let slot = 0; slot < cluster.slotCount; slot++) writeSlot(cluster, balancer, cluster.controller.epoch, slot);
  writeBackends(cluster, balancer, cluster.controller.epoch, true, true);
  balancer.applied = cluster.controller.epoch;
  balancer.stage = -1;
}

/**
 * Writes one slot as published. The tick is the balancer's own; it starts now where the slot was settled, and where
 * `current` changes: packets to it left no tick until now.
 */
export function writeSlot(cluster: Cluster, balancer: BalancerState, epoch: number, slot: number): void {
  const { published } = cluster;
  const at = epoch * PUBLISHED_STRIDE + slot * FIELDS;
  const { slots } = balancer;
  const isUnsettled = published[at + 3];
  balancer.declines[slot] = declinesToClose(cluster, balancer, at, slot) ? 1 : 0;
  if (balancer.declines[slot] !== 0) return;
  const isDemoted = slots.current[slot] !== published[at] && !cluster.faults.keepsTickOnSwitch;
  if (isUnsettled !== 0 && (slots.unsettled[slot] === 0 || isDemoted)) balancer.tick[slot] = tickOf(cluster.now);
  if (isUnsettled !== 0 && slots.unsettled[slot] === 0) balancer.generation[slot]++;
  slots.current[slot] = published[at];
  slots.previous[slot] = published[at + 1];
  slots.third[slot] = published[at + 2];
  slots.unsettled[slot] = isUnsettled;
}

/** Would the write at `at` close the slot (C,P -> C,C,P), although a flow may have come to `previous` since the look? */
function declinesToClose(cluster: Cluster, balancer: BalancerState, at: number, slot: number): boolean {
  if (cluster.settlesBy === 'reports' || cluster.faults.neverDeclines || balancer.slots.unsettled[slot] === 0)
    return false;
  const { published } = cluster;
  const current = balancer.slots.current[slot];
  const previous = balancer.slots.previous[slot];
  if (previous === current || published[at] !== current || published[at + 1] !== current) return false;
  return published[at + 2] === previous && silenceTicks(cluster.now, balancer.tick[slot]) < SILENCE_TICKS;
}

/** Writes who lives: those who came (`comes`) or those who went (`goes`). */
export function writeBackends(
  cluster: Cluster,
  balancer: BalancerState,
  epoch: number,
  comes: boolean,
  goes: boolean,
): void {
  const at = epoch * PUBLISHED_STRIDE + MAX_SLOTS * FIELDS;
  for (let index = 1; index <= MAX_INDEX; index++) {
    const flags = cluster.published[at + index] === 0 ? 0 : BACKEND_ALIVE | (cluster.hasAgents ? BACKEND_AGENT : 0);
    if (flags !== 0 ? comes : goes) balancer.backendFlags[index] = flags;
  }
}

export function pick(random: number, count: number): number {
  return random % count;
}

/** True if every serving balancer has acknowledged `epoch`. */
export function allAcknowledged(cluster: Cluster, epoch: number): boolean {
  for (let b = 0; b < cluster.balancerCount; b++)
    if (cluster.balancers[b].isServing && cluster.controller.acknowledged[b] < epoch) return false;
  return true;
}

/** True if every serving balancer has acknowledged the slot as it is published, and has not declined to close it. */
export function slotAcknowledged(cluster: Cluster, slot: number): boolean {
  const { controller } = cluster;
  for (let b = 0; b < cluster.balancerCount; b++)
    if (cluster.balancers[b].isServing && controller.declined[b * MAX_SLOTS + slot] !== 0) return false;
  return allAcknowledged(cluster, controller.slotEpoch[slot]);
}

export function servingCount(cluster: Cluster): number {
  let count = 0;
  for (let b = 0; b < cluster.balancerCount; b++) if (cluster.balancers[b].isServing) count++;
  return count;
}

/** `C/P/T` of a slot, with `*` while it is unsettled: for traces. */
export function slotText(table: SlotTable, slot: number): string {
  if (table.unsettled[slot] === 0) return `${table.current[slot]}`;
  return `${table.current[slot]}/${table.previous[slot]}/${table.third[slot]}*`;
}
