/** What the controller of the model does: wishes, marks and switches, deaths, settling; each publishes a state. */
import { silenceTicks } from '../decide/slot-word.ts';
import { candidates, killBackend, markResult, markSlot, settleSlot, switchSlot } from '../decide/slots.ts';
import {
  allAcknowledged,
  type Cluster,
  MAX_SLOTS,
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

/**
 * Looks whether anything is left on the slot's other candidates; the settling step comes later, or never. Where agents report, most
 * looks are listings: `random` says of whom.
 */
export function look(cluster: Cluster, slot: number, random: number): void {
  const { controller } = cluster;
  if (cluster.settlesBy === 'reports' && (random & 3) !== 0) {
    listSome(cluster, random);
    if ((random & 8) === 0) return;
    cluster.now++;
    listSome(cluster, random);
    return;
  }
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
 * The agents of all other candidates have listed their connections twice, none was of the slot, and the first listing was taken when
 * every balancer had the slot as it is now, no entry was young any more, and what had been sent before had arrived. Twice, because a
 * listing takes its time: it may miss what opens meanwhile. To close a slot `previous` need not be asked: it stays a candidate.
 */
function isReportedEmpty(cluster: Cluster, slot: number): boolean {
  const { controller, faults } = cluster;
  const since = listedFrom(cluster);
  const current = controller.table.current[slot];
  const previous = controller.table.previous[slot];
  for (const index of candidates(controller.table, slot)) {
    if (index === current || (index === previous && previous !== current && !faults.settlesInOneGo)) continue;
    const place = index * MAX_SLOTS + slot;
    const first = controller.emptySince[place];
    if (first < 0 || (!faults.takesOldReports && first < since)) return false;
    if (!faults.takesOneReport && controller.emptyAt[place] === first) return false;
  }
  return true;
}

function listSome(cluster: Cluster, random: number): void {
  for (let index = 1; index <= cluster.indexCount; index++)
    if ((random & 4) !== 0 || index === 1 + pick(random >>> 4, cluster.indexCount)) listConnections(cluster, index);
}

/** The agent of a backend lists its connections. What opens in the same tick is not seen. */
function listConnections(cluster: Cluster, index: number): void {
  if (cluster.runs[index] === 0) return;
  const { emptySince, emptyAt } = cluster.controller;
  for (let slot = 0; slot < cluster.slotCount; slot++) {
    const place = index * MAX_SLOTS + slot;
    const isEmpty = !hasConnection(cluster, index, slot);
    if (!isEmpty) emptySince[place] = -1;
    else if (emptySince[place] < 0) emptySince[place] = cluster.now;
    // Only listings of which the first is young enough count; older ones begin the row anew.
    else if (emptySince[place] < listedFrom(cluster)) emptySince[place] = cluster.now;
    emptyAt[place] = cluster.now;
    cluster.trace?.(`  backend ${index} has ${isEmpty ? 'no' : 'a'} connection of slot ${slot}`);
  }
}

function listedFrom({ controller, balancers, balancerCount, faults }: Cluster): number {
  if (faults.takesOldReports) return 0;
  let since = faults.forgetsDepartures ? 0 : controller.departedAt;
  for (let b = 0; b < balancerCount; b++)
    if (balancers[b].isServing) since = Math.max(since, controller.acknowledgedAt[b]);
  return since + (faults.reportsAtOnce ? 0 : REPORT_WAIT_TICKS);
}

function hasConnection(cluster: Cluster, index: number, slot: number): boolean {
  for (let f = 0; f < cluster.flowCount; f++) {
    const flow = cluster.flows[f];
    if (flow.slot === slot && flow.owner === cluster.machine[index] && flow.openedAt < cluster.now) return true;
  }
  return false;
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
  controller.emptySince.fill(-1);
  controller.departedAt = cluster.now;
}
