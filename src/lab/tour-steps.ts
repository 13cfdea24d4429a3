/** What happens on the tour, in order: a backend is added, drained, killed, a balancer dies, a site is lost and comes back. */
import type { Config } from '../config/model.ts';
import type { Runtime } from '../fleet/runtime.ts';
import type { Lab } from './build.ts';
import type { TourStep } from './tour.ts';
import type { OpenConnection } from './traffic.ts';

export interface TourWorld {
  readonly lab: Lab;
  readonly runtime: Runtime;
  /** All of it: with the backend that is added. */
  readonly full: Config;
  readonly cast: TourCast;
  drainBackend(name: string): Promise<void>;
}

/** Who plays which part, chosen from the configuration. */
export interface TourCast {
  readonly homeSite: string;
  readonly lostSite: string;
  readonly added: string;
  readonly drained: string;
  readonly killed: string;
  readonly killedBalancer: string;
  /** Longest time that an answer of the steered service lives in caches. */
  readonly ttlMs: number;
  /** Time until probes find a death, at most. */
  readonly detectionMs: number;
}

/** Beyond the time to live of an answer, a lost site's clients are elsewhere within this. */
const AFTER_TTL_MS = 5_000;
/** Time for what is decided at once: two phases, a route. */
const PROMPT_MS = 5_000;
/** A new connection whose first packet went to a dead machine asks again after 1, 3 and 7 s (RFC 6298). */
const RETRY_MS = 3_000;

/** Throws where the configuration cannot show the tour: it wants two sites, two balancers and three backends at the first. */
export function castTour(config: Config): TourCast {
  const service = [...config.services.values()].find((one) => one.dnsName !== null && one.vips.size >= 2);
  if (service === undefined) throw new Error('the tour wants a service with a DNS name and VIPs at two sites');
  const [homeSite, lostSite] = [...service.vips.keys()] as [string, string];
  const backends = service.backends.get(homeSite) ?? [];
  const balancers = [...config.balancers.values()].filter((balancer) => balancer.site === homeSite);
  if (backends.length < 3 || balancers.length < 2)
    throw new Error(`the tour wants three backends and two balancers at ${homeSite}`);
  const { health } = service;
  return {
    homeSite,
    lostSite,
    drained: backends[0] as string,
    killed: backends[1] as string,
    added: backends[2] as string,
    killedBalancer: balancers[0]?.name as string,
    ttlMs: service.ttlSeconds * 1000,
    detectionMs: health.fall * health.intervalMs * 1.1 + health.timeoutMs,
  };
}

/** The configuration without one backend: how the tour begins. */
export function withoutBackend(config: Config, name: string): Config {
  const backends = new Map([...config.backends].filter(([key]) => key !== name));
  const services = new Map(
    [...config.services].map(([key, service]) => [
      key,
      {
        ...service,
        backends: new Map([...service.backends].map(([site, names]) => [site, names.filter((one) => one !== name)])),
      },
    ]),
  );
  return { ...config, backends, services };
}

type Went = Readonly<Record<string, Readonly<Record<string, number>>>>;

function countOf(went: Went, backend: string): number {
  return Object.values(went).reduce((sum, backends) => sum + (backends[backend] ?? 0), 0);
}

const NOTHING_MAY_BREAK = { mayBreak: () => false, newMayFailMs: 0 };

export function tourSteps(world: TourWorld): TourStep[] {
  const { lab, runtime, full, cast } = world;
  const siteOf = (backend: string): string => full.backends.get(backend)?.site ?? '';
  const goesOnlyTo = (went: Went, site: string): boolean =>
    Object.values(went).every((backends) => Object.keys(backends).every((backend) => siteOf(backend) === site));
  const keeps = (backend: string) => (before: readonly OpenConnection[], after: readonly OpenConnection[]) => {
    const held = before.filter((one) => one.backend === backend);
    const still = new Set(
      after.filter((one) => one.backend === backend).map((one) => `${one.region} ${one.id} ${one.localPort}`),
    );
    const lost = held.filter((one) => !still.has(`${one.region} ${one.id} ${one.localPort}`)).length;
    return lost === 0 ? [] : [`${lost} of ${held.length} connections of ${backend} are gone`];
  };
  return [
    {
      step: `add backend ${cast.added}`,
      expected: `no connection breaks; ${cast.added} gets its share of new ones`,
      limitMs: PROMPT_MS + cast.detectionMs,
      act: () => runtime.apply(full),
      isSteady: (went) => countOf(went, cast.added) > 0,
      ...NOTHING_MAY_BREAK,
    },
    {
      step: `drain backend ${cast.drained}`,
      expected: `no connection breaks; ${cast.drained} keeps those it has and gets no new one`,
      limitMs: PROMPT_MS,
      act: () => world.drainBackend(cast.drained),
      isSteady: (went) => countOf(went, cast.drained) === 0,
      check: keeps(cast.drained),
      ...NOTHING_MAY_BREAK,
    },
    {
      step: `kill backend ${cast.killed}`,
      expected: `only connections of ${cast.killed} break; new ones go elsewhere once probes have found out`,
      limitMs: PROMPT_MS + cast.detectionMs + RETRY_MS,
      act: () => lab.killBackend(cast.killed),
      mayBreak: (connection) => connection.backend === cast.killed,
      newMayFailMs: cast.detectionMs + PROMPT_MS,
      isSteady: (went) => countOf(went, cast.killed) === 0,
      check: keeps(cast.drained),
    },
    {
      step: `kill balancer ${cast.killedBalancer}`,
      expected: 'no connection breaks: the other balancer sends every packet to the same backend',
      limitMs: PROMPT_MS,
      act: () => lab.killBalancer(cast.killedBalancer),
      isSteady: () => true,
      check: keeps(cast.drained),
      ...NOTHING_MAY_BREAK,
    },
    {
      step: `lose site ${cast.lostSite}`,
      expected: `only connections of ${cast.lostSite} break; new ones reach ${cast.homeSite} within TTL + 5 s (${(cast.ttlMs + AFTER_TTL_MS) / 1000} s)`,
      limitMs: cast.ttlMs + AFTER_TTL_MS,
      act: () => lab.loseSite(cast.lostSite),
      mayBreak: (connection) => connection.site === cast.lostSite,
      newMayFailMs: cast.ttlMs + AFTER_TTL_MS,
      isSteady: (went) => goesOnlyTo(went, cast.homeSite),
    },
    {
      step: `site ${cast.lostSite} comes back`,
      expected: `no connection breaks; new ones of the clients near ${cast.lostSite} go there again`,
      limitMs: cast.ttlMs + AFTER_TTL_MS + PROMPT_MS,
      act: () => lab.restoreSite(cast.lostSite),
      isSteady: (went) =>
        Object.values(went).some((backends) => Object.keys(backends).every((one) => siteOf(one) === cast.lostSite)),
      ...NOTHING_MAY_BREAK,
    },
  ];
}
