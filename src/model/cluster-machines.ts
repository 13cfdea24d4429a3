/** What happens to the machines of the model by itself: balancers fetch states, come and go; backends die and return. */
import {
  allAcknowledged,
  type BalancerState,
  type Cluster,
  MAX_SLOTS,
  pick,
  servingCount,
  startBalancer,
  writeBackends,
  writeSlot,
} from './cluster-state.ts';
import { purgeBackend } from './connections.ts';

/**
 * A balancer goes on writing the state it has begun, by one step or (`atOnce`) to its end, or begins with a newer one:
 * not always the newest, and the ones between may have been lost.
 */
export function progressBalancer(cluster: Cluster, b: number, random: number, atOnce: boolean): void {
  const balancer = cluster.balancers[b];
  if (!balancer.isUp) return;
  if (balancer.stage < 0) {
    const newer = cluster.controller.epoch - balancer.applied;
    if (newer === 0) {
      closeDeclined(cluster, balancer);
      return;
    }
    balancer.writing = cluster.controller.epoch - ((random & 3) % newer);
    balancer.stage = 0;
  }
  do writeStage(cluster, balancer);
  while (atOnce && balancer.stage >= 0);
  cluster.trace?.(
    `  balancer ${b}: epoch ${balancer.writing}, ${balancer.stage < 0 ? 'complete' : `stage ${balancer.stage}`}`,
  );
}

/** What was declined is tried again until the slot is silent here. */
function closeDeclined(cluster: Cluster, balancer: BalancerState): void {
  for (let slot = 0; slot < cluster.slotCount; slot++)
    if (balancer.declines[slot] !== 0) writeSlot(cluster, balancer, balancer.applied, slot);
}

/** First who lives, then the slots, last who is dead: no slot is ever without a live candidate for want of flags. */
function writeStage(cluster: Cluster, balancer: BalancerState): void {
  const { stage, writing } = balancer;
  const buriesFirst = cluster.faults.buriesBeforeSlots;
  if (stage === 0) writeBackends(cluster, balancer, writing, true, buriesFirst);
  else if (stage <= cluster.slotCount) writeSlot(cluster, balancer, writing, stage - 1);
  else writeBackends(cluster, balancer, writing, false, true);
  balancer.stage++;
  if (balancer.stage <= cluster.slotCount + 1) return;
  balancer.applied = writing;
  balancer.stage = -1;
}

export function acknowledge(cluster: Cluster, b: number): void {
  const { controller } = cluster;
  const balancer = cluster.balancers[b];
  if (!balancer.isUp) return;
  for (let slot = 0; slot < cluster.slotCount; slot++)
    controller.declined[b * MAX_SLOTS + slot] = balancer.declines[slot];
  if (controller.acknowledged[b] === balancer.applied) return;
  controller.acknowledged[b] = balancer.applied;
  controller.acknowledgedAt[b] = cluster.now;
}

/** A balancer that has not acknowledged in time is taken out of the routes; without agents flows cannot move. */
export function withdrawBalancer(cluster: Cluster, b: number, random: number): void {
  const balancer = cluster.balancers[b];
  if (!balancer.isServing || !cluster.hasAgents || servingCount(cluster) < 2) return;
  if (cluster.controller.acknowledged[b] === cluster.controller.epoch) return;
  leave(cluster, b, random);
}

export function killBalancer(cluster: Cluster, b: number, random: number): void {
  const balancer = cluster.balancers[b];
  if (!balancer.isUp || !cluster.hasAgents || (balancer.isServing && servingCount(cluster) < 2)) return;
  balancer.isUp = false;
  if (balancer.isServing) leave(cluster, b, random);
}

function leave(cluster: Cluster, b: number, random: number): void {
  cluster.balancers[b].isServing = false;
  if (!cluster.faults.forgetsDepartures) {
    cluster.controller.departedAt = cluster.now;
    cluster.controller.lookedAt.fill(-1);
  }
  for (let f = 0; f < cluster.flowCount; f++) if (cluster.flows[f].route === b) reshuffle(cluster, f, random + f);
}

/** A balancer starts anew, or one that was withdrawn and has caught up serves again, with its old connection table. */
export function joinBalancer(cluster: Cluster, b: number): void {
  const balancer = cluster.balancers[b];
  if (balancer.isServing) return;
  if (!balancer.isUp) startBalancer(cluster, balancer);
  else if (balancer.stage < 0 && balancer.applied === cluster.controller.epoch) {
    balancer.isServing = true;
    acknowledge(cluster, b);
  }
}

/** Routers send the flow to another balancer. */
export function reshuffle(cluster: Cluster, f: number, random: number): void {
  if (!cluster.hasAgents) return;
  const count = servingCount(cluster);
  if (count === 0) return;
  let nth = pick(random, count);
  for (let b = 0; b < cluster.balancerCount; b++) {
    if (!cluster.balancers[b].isServing) continue;
    if (nth-- === 0) cluster.flows[f].route = b;
  }
}

export function killMachine(cluster: Cluster, index: number): void {
  cluster.runs[index] = 0;
  for (let f = 0; f < cluster.flowCount; f++) {
    const flow = cluster.flows[f];
    if (flow.owner === cluster.machine[index]) flow.owner = 0;
    // It takes longer to come back than a packet is on its way.
    if (flow.flightIndex === index) flow.flightIndex = 0;
  }
}

/** A machine is back: either nobody noticed, or every balancer has heard of its death. */
export function reviveMachine(cluster: Cluster, index: number): void {
  const { controller } = cluster;
  if (controller.believed[index] !== 0 || allAcknowledged(cluster, controller.deathEpoch[index]))
    cluster.runs[index] = 1;
}

/** An index that no slot names any more goes to a new machine, after every balancer has purged its entries. */
export function replaceMachine(cluster: Cluster, index: number): void {
  const { controller } = cluster;
  if (!allAcknowledged(cluster, controller.epoch)) return;
  for (let slot = 0; slot < cluster.slotCount; slot++) {
    const { current, previous, third } = controller.table;
    if (controller.desired[slot] === index || current[slot] === index) return;
    if (previous[slot] === index || third[slot] === index) return;
  }
  for (let b = 0; b < cluster.balancerCount; b++) purgeBackend(cluster.balancers[b].connections, index);
  cluster.machine[index] += 10;
  controller.emptySince.fill(-1, index * MAX_SLOTS, (index + 1) * MAX_SLOTS);
}

/** Other flows fill the connection table of a balancer, or leave it again. */
export function fillTable(cluster: Cluster, b: number, isFull: boolean): void {
  const { words } = cluster.balancers[b].connections;
  for (let at = 0; at < words.length; at += 2) {
    const isOther = words[at + 1] === OTHER_FLOWS;
    if (isFull && ((words[at] | words[at + 1]) === 0 || isOther)) {
      words[at] = 1 | ((cluster.now & 0xfff) << 16);
      words[at + 1] = OTHER_FLOWS;
    } else if (!isFull && isOther) {
      words[at] = 0;
      words[at + 1] = 0;
    }
  }
}

const OTHER_FLOWS = 0xffffffff;
