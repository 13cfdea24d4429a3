/** How a new flow enters the connection table: bpf/insert.h. */
import { type ConnectionTable, type FlowPlaces, findRoom, writeEntry } from './connections.ts';
import { type Clock, EVENT_INSERTED, EVENT_REFUSED_FULL, EVENT_REFUSED_PRESSURE, EVENT_REPLACED } from './layout.ts';
import { countTracked, hasRoom, type PressureLimits, type PressureWords, prolongAdoption } from './pressure.ts';

export interface Newcomer {
  flow: FlowPlaces;
  clock: Clock;
  limits: PressureLimits;
  /** The longest lifetime of any service. */
  reclaimTicks: number;
  connections: ConnectionTable;
  pressure: PressureWords;
  kind: PacketKind;
}

/**
 * `syn`: TCP with SYN and without ACK, RST and FIN, or an Initial of QUIC: a new connection. `tcp`: all other TCP and QUIC.
 */
export type PacketKind = 'syn' | 'tcp' | 'udp';

/** What `insertFlow` gives where the flow was entered. */
export const INSERTED_EVENTS = EVENT_INSERTED | EVENT_REPLACED;

/**
 * Gives the event. `own`: the place of the flow's own older or invalid entry, which is written over; -1: none.
 * `isTakeover`: it was valid, so the flow was counted when it came.
 */
export function insertFlow(
  { connections, flow, clock, limits, reclaimTicks, pressure, kind }: Newcomer,
  own: number,
  isTakeover: boolean,
  backend: number,
  state: number,
): number {
  const isFree = own >= 0 || hasRoom(pressure, limits, clock);
  const place = own >= 0 || !isFree ? own : findRoom(connections, flow, clock.high, reclaimTicks);
  if (place < 0) {
    if (kind === 'udp') prolongAdoption(pressure, clock);
    return isFree ? EVENT_REFUSED_FULL : EVENT_REFUSED_PRESSURE;
  }
  writeEntry(connections, place, flow, backend, clock.high, state);
  if (isTakeover) return EVENT_REPLACED;
  countTracked(pressure, limits, clock);
  return EVENT_INSERTED;
}
