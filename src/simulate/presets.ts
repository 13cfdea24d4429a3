/**
 * Three kinds of internet. Their numbers were fixed before anything that estimates was tuned, and a test holds their digest: whoever
 * changes one makes all earlier results incomparable.
 */
import type { NetworkParameters, ResolverParameters, ServiceParameters, WorldParameters } from './types.ts';

export const PRESET_NAMES = ['friendly', 'typical', 'hostile'] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

export interface Preset {
  readonly resolver: ResolverParameters;
  readonly network: NetworkParameters;
  readonly headroom: number;
  readonly linkHeadroom: number;
  readonly dayPeak: number;
  readonly noise: number;
  readonly beaconShare: number;
}

export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  /** Resolvers near their users that obey; little that geography does not know. */
  friendly: {
    resolver: {
      publicShare: 0.1,
      companyShare: 0.03,
      companyFarShare: 0.1,
      centralShare: 0.1,
      anycastMissShare: 0.05,
      ecsPublicOperators: 2,
      ecsShare: 0.1,
      prefetchShare: 0.1,
      clampMinShare: 0.005,
      clampMinSeconds: 300,
      clampMaxShare: 0.05,
      clampMaxSeconds: 30,
      serveStaleShare: 0.05,
      violatorShare: 0.01,
      violatorLate: [0.3, 0.6],
      violatorSeconds: [900, 3600],
      lateShare: 0.03,
      lateSeconds: 120,
      largestPool: 8,
      lookupsByConnection: 0.5,
      lookupSpread: 0.2,
    },
    network: {
      stretch: 1.5,
      stretchSpread: 0.15,
      detourShare: 0.02,
      detourMs: [20, 80],
      congestedShare: 0.02,
      congestedMs: 15,
      driftMs: 1,
      accessMs: 8,
      accessSpread: 0.4,
      misplacedShare: 0.02,
      jitterMs: 3,
    },
    headroom: 1.6,
    linkHeadroom: 2,
    dayPeak: 1.4,
    noise: 0.02,
    beaconShare: 0.002,
  },
  /** What measurements of the real one suggest, in the middle. */
  typical: {
    resolver: {
      publicShare: 0.2,
      companyShare: 0.06,
      companyFarShare: 0.25,
      centralShare: 0.3,
      anycastMissShare: 0.15,
      ecsPublicOperators: 1,
      ecsShare: 0.05,
      prefetchShare: 0.25,
      clampMinShare: 0.02,
      clampMinSeconds: 300,
      clampMaxShare: 0.1,
      clampMaxSeconds: 30,
      serveStaleShare: 0.15,
      violatorShare: 0.04,
      violatorLate: [0.2, 0.6],
      violatorSeconds: [900, 7200],
      lateShare: 0.08,
      lateSeconds: 180,
      largestPool: 24,
      lookupsByConnection: 0.4,
      lookupSpread: 0.5,
    },
    network: {
      stretch: 1.7,
      stretchSpread: 0.25,
      detourShare: 0.06,
      detourMs: [20, 150],
      congestedShare: 0.06,
      congestedMs: 30,
      driftMs: 2,
      accessMs: 12,
      accessSpread: 0.6,
      misplacedShare: 0.06,
      jitterMs: 6,
    },
    headroom: 1.35,
    linkHeadroom: 1.5,
    dayPeak: 1.6,
    noise: 0.04,
    beaconShare: 0.001,
  },
  /** Users far from their resolvers, caches that keep what they like, no client subnets, ways that no map shows. */
  hostile: {
    resolver: {
      publicShare: 0.3,
      companyShare: 0.1,
      companyFarShare: 0.5,
      centralShare: 0.5,
      anycastMissShare: 0.3,
      ecsPublicOperators: 0,
      ecsShare: 0.01,
      prefetchShare: 0.4,
      clampMinShare: 0.06,
      clampMinSeconds: 900,
      clampMaxShare: 0.15,
      clampMaxSeconds: 20,
      serveStaleShare: 0.3,
      violatorShare: 0.1,
      violatorLate: [0.15, 0.7],
      violatorSeconds: [1200, 14_400],
      lateShare: 0.12,
      lateSeconds: 240,
      largestPool: 48,
      lookupsByConnection: 0.3,
      lookupSpread: 0.8,
    },
    network: {
      stretch: 1.9,
      stretchSpread: 0.35,
      detourShare: 0.12,
      detourMs: [20, 200],
      congestedShare: 0.12,
      congestedMs: 50,
      driftMs: 4,
      accessMs: 15,
      accessSpread: 0.8,
      misplacedShare: 0.12,
      jitterMs: 12,
    },
    headroom: 1.25,
    linkHeadroom: 1.3,
    dayPeak: 1.7,
    noise: 0.06,
    beaconShare: 0.0005,
  },
};

/** One of each class. */
export const PRESET_SERVICES: readonly ServiceParameters[] = [
  { name: 'search', class: 'latency', share: 0.6, ttlSeconds: 60, bitsPerConnection: 800_000 },
  { name: 'upload', class: 'throughput', share: 0.15, ttlSeconds: 60, bitsPerConnection: 20_000_000 },
  { name: 'batch', class: 'batch', share: 0.25, ttlSeconds: 300, bitsPerConnection: 4_000_000 },
];

export interface WorldSize {
  readonly prefixes: number;
  readonly resolvers: number;
  readonly sites: number;
}

/** Mean over the day. */
const CONNECTIONS_BY_PREFIX = 0.5;

/** Parameters of a world of the preset's kind and any size; single ones are replaced with `{...}`. */
export function presetParameters(name: PresetName, size: WorldSize): WorldParameters {
  const preset = PRESETS[name];
  return {
    ...size,
    ipv6Share: 0.2,
    headroom: preset.headroom,
    linkHeadroom: preset.linkHeadroom,
    linksPerSite: 2,
    resolver: preset.resolver,
    network: preset.network,
    demand: {
      connectionsPerSecond: CONNECTIONS_BY_PREFIX * size.prefixes,
      prefixSpread: 1.2,
      dayPeak: preset.dayPeak,
      noise: preset.noise,
    },
    services: PRESET_SERVICES,
    observation: {
      rttRows: Math.max(100, Math.round(size.prefixes / 10)),
      trafficRows: 2 * size.prefixes,
      beaconShare: preset.beaconShare,
    },
  };
}
