import type { CompiledZone, CompiledZones } from '../zones.ts';

/** Of all sets of a zone: so long caches keep what the zone had before. */
export function largestTtlSeconds(zone: CompiledZone, zones: CompiledZones): number {
  let largest = zone.soa.ttlSeconds;
  for (const node of zones.names.values()) {
    if (node.zone !== zone) continue;
    for (const { ttlSeconds } of node.sets.values()) largest = Math.max(largest, ttlSeconds);
    largest = Math.max(largest, node.steered?.ttlSeconds ?? 0);
  }
  return largest;
}
