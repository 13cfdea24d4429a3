/** What a service's scheduler and tracking mean for its tables, and for its element in the kernel. */
import { type Backend, type Config, isHashScheduler, type Service } from '../config/model.ts';
import {
  type SchedulerName,
  SERVICE_HANDSHAKES,
  SERVICE_HASH_SOURCE,
  SERVICE_NAT_TUPLES,
  SERVICE_TRACK_ALL,
  SERVICE_UNREACHABLE,
} from '../serve/vip/layout.gen.ts';

type Scheduling = Pick<Service, 'scheduler' | 'tracking'>;

export function tracksAll({ tracking }: Scheduling): boolean {
  return tracking.mode === 'full';
}

/**
 * Whether slots change without two phases. Least-connections keeps them: a balancer that lacks a flow's entry tells its candidates, so they must
 * be known to all of the site before a flow can be there.
 */
export function changesAtOnce(service: Scheduling): boolean {
  if (service.tracking.mode === 'none') return true;
  return tracksAll(service) && service.scheduler !== 'least-connections';
}

/**
 * Listings tell of every connection, and packets find a second chance meanwhile: TCP only, with the other candidates in the encapsulation. Not where
 * a flow may be in another slot than the one that its listing tells. (And no balancer of the site elsewhere, which would not be asked
 * whether it has taken the change.)
 */
export function canSettleByReports(site: string, service: Service, { backends }: Pick<Config, 'backends'>): boolean {
  if (tracksAll(service) || service.scheduler === 'source-hash') return false;
  if (service.ports.some(({ protocol }) => protocol !== 'tcp')) return false;
  return (service.backends.get(site) ?? []).every((name) => {
    const backend = backends.get(name);
    const mode = backend?.forwarding ?? service.forwarding;
    return backend?.agent === true && (mode === 'gre' || mode === 'gue');
  });
}

/** Null: no round robin. */
export function turnsOf({ scheduler }: Scheduling): 'weighted' | 'equal' | null {
  if (scheduler === 'round-robin') return 'equal';
  return scheduler === 'weighted-round-robin' ? 'weighted' : null;
}

/** As the kernel knows it. */
export function kernelScheduler(service: Scheduling): SchedulerName {
  const { scheduler } = service;
  if (!tracksAll(service) || isHashScheduler(scheduler)) return 'hash';
  return turnsOf(service) === null ? (scheduler as SchedulerName) : 'round-robin';
}

/** SERVICE_*. */
export function serviceFlags(service: Scheduling & Pick<Service, 'withoutBackends' | 'natTuples'>): number {
  return (
    (tracksAll(service) ? SERVICE_TRACK_ALL : 0) |
    (service.scheduler === 'source-hash' ? SERVICE_HASH_SOURCE : 0) |
    (service.withoutBackends === 'unreachable' ? SERVICE_UNREACHABLE : 0) |
    (service.natTuples ? SERVICE_NAT_TUPLES : 0)
  );
}

/** Round trips are measured from SYN to ACK where one of the service's backends has no agent that does it better. */
export function handshakeFlag(
  names: readonly string[],
  known: readonly { readonly backend: Pick<Backend, 'name' | 'agent'> }[],
): number {
  return known.some(({ backend }) => !backend.agent && names.includes(backend.name)) ? SERVICE_HANDSHAKES : 0;
}

/** Weights of backends for the kernel, which has 16 bits: the largest is 65,535, and none is 0. */
export function kernelWeight(weight: number, largest: number): number {
  return Math.max(1, Math.round((weight / largest) * 0xffff));
}
