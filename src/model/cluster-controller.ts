/** What the controller of the model does: wishes, marks and switches, deaths, settling; each publishes a state. */
import { silenceTicks } from '../decide/slot-word.ts';
import { candidates, killBackend, markResult, markSlot, settleSlot, switchSlot } from '../decide/slots.ts';
import {
  allAcknowledged,
  type Cluster,
  pick,
  REPORT_WAIT_TICKS,
  SILENCE_TICKS,
  slotAcknowledged,
  slotText,
  storePublished,
} from './cluster-state.ts';

function publish(cluster: Cluster, what: string): void {
  cluster.controller.epoch++;
  storePublished(cluster);
  if (cluster.trace === null) return;
  const { table } = cluster.controller;
  const slots = Array.from({ length: cluster.slotCount }, (_, slot) => slotText(table, slot)).join(' ');
  cluster.trace(`  epoch ${cluster.controller.epoch}: ${what}: ${slots}`);
}

/** Another backend shall have the slot: any planned change - a new backend, a drain, an undrain, weights - comes to this. */
export function wish(cluster: Cluster, slot: number, random: number): void {
  const { controller } = cluster;
  const index = 1 + pick(random, cluster.indexCount);
  if (controller.believed[index] !== 0) controller.desired[slot] = index;
}

/** The slot's next phase towards what is wanted, if it may begin. */
export function advance(cluster: Cluster, slot: number): void {
  const { controller, faults } = cluster;
  const want = controller.desired[slot];
  if (want === 0 || want === controller.table.current[slot]) return;
  const result = markResult(controller.table, slot, want);
  if (result === 'waits') return;
  if (result === 'marked') {
    markSlot(controller.table, slot, want);
    if (faults.switchesAtOnce) switchSlot(controller.table, slot, want);
  } else {
    if (!slotAcknowledged(cluster, slot)) return;
    switchSlot(controller.table, slot, want);
  }
  settleEqual(cluster, slot, result === 'ready');
  publish(cluster, `slot ${slot} ${result === 'marked' ? 'marked for' : 'switched to'} ${want}`);
  controller.slotEpoch[slot] = controller.epoch;
}

/** The mutant that takes equal fields for settled. */
function settleEqual(cluster: Cluster, slot: number, hasSwitched: boolean): void {
  const { table } = cluster.controller;
  if (!cluster.faults.settlesByEquality || !hasSwitched || table.current[slot] !== table.previous[slot]) return;
  table.previous[slot] = 0;
  table.third[slot] = 0;
  table.unsettled[slot] = 0;
}

/** The controller hears that a backend is dead: it leaves every slot at once. */
export function bury(cluster: Cluster, index: number): void {
  const { controller } = cluster;
  if (cluster.runs[index] !== 0 || controller.believed[index] === 0) return;
  controller.believed[index] = 0;
  for (let slot = 0; slot < cluster.slotCount; slot++)
    if (controller.desired[slot] === index) controller.desired[slot] = anyLiving(cluster, index + slot);
  const changed = killBackend(controller.table, index, (other) => controller.believed[other] !== 0, controller.desired);
  publish(cluster, `${index} is dead`);
  controller.deathEpoch[index] = controller.epoch;
  for (const slot of changed) controller.slotEpoch[slot] = controller.epoch;
}

function anyLiving(cluster: Cluster, from: number): number {
  for (let i = 0; i < cluster.indexCount; i++) {
    const index = 1 + ((from + i) % cluster.indexCount);
    if (cluster.controller.believed[index] !== 0) return index;
  }
  return 0;
}

/** A backend that was dead is healthy again: it lives everywhere before any slot is marked for it. */
export function readmit(cluster: Cluster, index: number): void {
  const { controller } = cluster;
  if (cluster.runs[index] === 0 || controller.believed[index] !== 0) return;
  if (!allAcknowledged(cluster, controller.deathEpoch[index])) return;
  controller.believed[index] = 1;
  for (let slot = 0; slot < cluster.slotCount; slot++)
    if (controller.desired[slot] === 0) controller.desired[slot] = index;
  publish(cluster, `${index} lives again`);
}

/** Looks whether anything is left on the slot's other candidates; the settling step comes later, or never. */
export function look(cluster: Cluster, slot: number): void {
  const { controller } = cluster;
  controller.lookedAt[slot] = -1;
  if (controller.table.unsettled[slot] === 0 || !slotAcknowledged(cluster, slot)) return;
  const isOver = cluster.settlesBy === 'silence' ? isSilent(cluster, slot) : isReportedEmpty(cluster, slot);
  if (isOver) controller.lookedAt[slot] = controller.slotEpoch[slot];
  if (isOver) cluster.trace?.(`  nothing left on the other candidates of slot ${slot}`);
}

function isSilent(cluster: Cluster, slot: number): boolean {
  const { departedAt, passedOnAt } = cluster.controller;
  if (cluster.now - departedAt < SILENCE_TICKS) return false;
  // A stale entry for `current` leaves no tick, and yet the connection may live elsewhere, behind the second chance.
  if (!cluster.faults.ignoresSecondChances && cluster.now - passedOnAt < SILENCE_TICKS) return false;
  for (let b = 0; b < cluster.balancerCount; b++) {
    const balancer = cluster.balancers[b];
    if (balancer.isServing && silenceTicks(cluster.now, balancer.tick[slot]) < SILENCE_TICKS) return false;
  }
  return true;
}

/**
 * The agents' listings, taken when no entry can be young any more. To close a slot they need not be asked for
 * `previous`: it stays a candidate.
 */
function isReportedEmpty(cluster: Cluster, slot: number): boolean {
  const { controller, balancers } = cluster;
  for (let b = 0; b < cluster.balancerCount; b++)
    if (balancers[b].isServing && cluster.now - controller.acknowledgedAt[b] < REPORT_WAIT_TICKS) return false;
  const current = controller.table.current[slot];
  const previous = controller.table.previous[slot];
  for (const index of candidates(controller.table, slot)) {
    if (index === current || (index === previous && !cluster.faults.settlesInOneGo)) continue;
    for (let f = 0; f < cluster.flowCount; f++)
      if (cluster.flows[f].slot === slot && cluster.flows[f].owner === cluster.machine[index]) return false;
  }
  return true;
}

/** One settling step, if the last look at the slot as it is now found nothing left. */
export function settle(cluster: Cluster, slot: number): void {
  const { controller, faults } = cluster;
  const { table } = controller;
  if (controller.lookedAt[slot] !== controller.slotEpoch[slot] || table.unsettled[slot] === 0) return;
  if (faults.settlesInOneGo) {
    table.previous[slot] = 0;
    table.third[slot] = 0;
    table.unsettled[slot] = 0;
  }
  const result = faults.settlesInOneGo ? 'settled' : settleSlot(table, slot);
  publish(cluster, `slot ${slot} ${result}`);
  controller.slotEpoch[slot] = controller.epoch;
  controller.lookedAt[slot] = -1;
}

/** The controller restarts: it knows the published state, but not who acknowledged, nor who left meanwhile. */
export function restartController(cluster: Cluster): void {
  const { controller } = cluster;
  controller.acknowledged.fill(0);
  controller.declined.fill(1);
  controller.lookedAt.fill(-1);
  controller.departedAt = cluster.now;
}
