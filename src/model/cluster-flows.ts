/** Packets of the model's flows: balancer, second chance on the backends, and the invariant after every delivery. */
import { tickOf } from '../decide/slot-word.ts';
import {
  type BalancerState,
  type Cluster,
  FLIGHT_TICKS,
  type FlowState,
  QUICK_SYNS,
  SILENCE_TICKS,
  slotText,
} from './cluster-state.ts';
import type { PacketKind } from './insert.ts';
import { YOUNG_TICKS } from './layout.ts';
import { selectBackend } from './select.ts';

const UNLIMITED = 0x7fffffff;

/**
 * A SYN: only of a flow that has no connection. Whoever gets it accepts it. Silence is counted from when a packet leaves a balancer, so
 * only where agents' reports settle slots does it matter that a SYN may take its time.
 */
export function openConnection(cluster: Cluster, f: number, random: number): void {
  const flow = cluster.flows[f];
  if (flow.owner !== 0 || (cluster.settlesBy === 'reports' && !maySendSyn(cluster, flow))) return;
  const index = sendThrough(cluster, f, 'syn');
  if (index === 0 || cluster.runs[index] === 0) return;
  if (cluster.settlesBy === 'reports' && (random & 3) === 0) {
    flow.flightIndex = index;
    flow.flightMachine = cluster.machine[index];
    flow.flightAt = cluster.now;
  } else accept(cluster, f, index);
}

function maySendSyn({ now }: Cluster, flow: FlowState): boolean {
  if (now - flow.synAt > YOUNG_TICKS) flow.quickSyns = 0;
  if (flow.quickSyns >= QUICK_SYNS) return false;
  flow.quickSyns++;
  flow.synAt = now;
  return true;
}

/** The SYN on its way arrives, if it is not lost by now, and nobody has accepted another one of the flow. */
function arrive(cluster: Cluster, f: number): void {
  const flow = cluster.flows[f];
  const { flightIndex, flightMachine, flightAt } = flow;
  flow.flightIndex = 0;
  if (flightIndex === 0 || flow.owner !== 0 || cluster.now - flightAt > FLIGHT_TICKS) return;
  if (cluster.runs[flightIndex] === 0 || cluster.machine[flightIndex] !== flightMachine) return;
  accept(cluster, f, flightIndex);
}

function accept(cluster: Cluster, f: number, index: number): void {
  const flow = cluster.flows[f];
  flow.owner = cluster.machine[index];
  flow.openedAt = cluster.now;
  flow.flightIndex = 0;
  cluster.trace?.(`  flow ${f} is accepted by ${index}`);
  flow.lastPacket = cluster.now;
  flow.isCovered = true;
}

/** Any other packet; of a live connection it must reach its own backend, or nobody. */
export function sendData(cluster: Cluster, f: number): void {
  const flow = cluster.flows[f];
  if (flow.flightIndex !== 0) arrive(cluster, f);
  if (flow.owner !== 0 && cluster.settlesBy === 'silence' && cluster.now - flow.lastPacket >= SILENCE_TICKS)
    flow.isCovered = false;
  const index = sendThrough(cluster, f, 'tcp');
  flow.lastPacket = cluster.now;
  if (flow.owner === 0 || !flow.isCovered) return;
  const reached = index === 0 ? 0 : secondChance(cluster, flow, index);
  if (reached !== 0 && cluster.runs[reached] !== 0) {
    if (cluster.machine[reached] === flow.owner) return;
    cluster.violation = `a packet of flow ${f}, whose connection is on machine ${flow.owner}, was delivered on ${reached}`;
  } else if (isQuiet(cluster, cluster.balancers[flow.route])) {
    cluster.violation = `packets of flow ${f}, whose connection is on machine ${flow.owner}, are lost for good`;
  }
}

/** FIN from both sides. It need not arrive for the connection to end. */
export function closeConnection(cluster: Cluster, f: number): void {
  if (cluster.flows[f].owner === 0) return;
  sendData(cluster, f);
  cluster.flows[f].owner = 0;
}

/** The index that the flow's balancer sends the packet to; 0: none. The other candidates stay in `cluster.selection`. */
function sendThrough(cluster: Cluster, f: number, kind: PacketKind): number {
  const flow = cluster.flows[f];
  const { selection, request } = cluster;
  const balancer = cluster.balancers[flow.route];
  selection.firstOther = 0;
  selection.secondOther = 0;
  if (!balancer.isServing) return 0;
  const { slot } = flow;
  if (balancer.slots.unsettled[slot] === 0) {
    if (cluster.trace)
      cluster.trace(`  ${kind} of flow ${f} by balancer ${flow.route}: settled slot ${slotText(balancer.slots, slot)}`);
    return balancer.slots.current[slot];
  }
  request.current = balancer.slots.current[slot];
  request.previous = balancer.slots.previous[slot];
  request.third = balancer.slots.third[slot];
  request.kind = kind;
  request.flow = flow.places;
  flow.places.fingerprintHigh = f + 1 + 16 * balancer.generation[slot];
  (request.clock as { high: number }).high = cluster.now;
  (request.limits as { newPerSecond: number }).newPerSecond = balancer.isPressed ? 0 : UNLIMITED;
  request.connections = balancer.connections;
  request.pressure = balancer.pressure;
  request.backendFlags = balancer.backendFlags;
  selectBackend(request, selection, cluster.faults);
  if (selection.touchesSlot) balancer.tick[slot] = tickOf(cluster.now);
  if (cluster.trace)
    cluster.trace(
      `  ${kind} of flow ${f} by balancer ${flow.route}: slot ${slotText(balancer.slots, slot)} -> ${selection.backend} ${selection.outcome}, others ${selection.firstOther} ${selection.secondOther}`,
    );
  return selection.backend;
}

/** Where the packet is handed up in the end: each backend that does not know the connection hands it to the next. 0: lost. */
function secondChance(cluster: Cluster, flow: FlowState, first: number): number {
  const { firstOther, secondOther } = cluster.selection;
  if (cluster.runs[first] === 0 || cluster.machine[first] === flow.owner || firstOther === 0) return first;
  cluster.controller.passedOnAt = cluster.now;
  if (cluster.runs[firstOther] === 0 || cluster.machine[firstOther] === flow.owner || secondOther === 0)
    return firstOther;
  return secondOther;
}

/** Nothing is under way: the balancer has the newest state, and the controller knows of all deaths. */
function isQuiet(cluster: Cluster, balancer: BalancerState): boolean {
  if (!balancer.isServing || balancer.applied !== cluster.controller.epoch || balancer.stage >= 0) return false;
  for (let index = 1; index <= cluster.indexCount; index++)
    if (cluster.controller.believed[index] !== cluster.runs[index]) return false;
  return true;
}
