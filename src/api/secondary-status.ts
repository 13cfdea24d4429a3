/** What is known of secondaries: of each, zone by zone, what it was told, what it fetched, and what it said it had. */
import type { Runtime } from '../fleet/runtime.ts';
import type { SecondaryStatus } from './source.ts';

/** Of one name server. */
export function secondaryStatus(runtime: Runtime, nameServer: string): SecondaryStatus[] {
  const seen = runtime.nameServers.get(nameServer)?.server.secondaries() ?? [];
  const zones = [...runtime.zoneHistory.transferred()];
  return [...runtime.config.transfers.secondaries.values()].flatMap((secondary) =>
    zones
      .filter((zone) => secondary.zones === null || secondary.zones.includes(zone))
      .map((zone): SecondaryStatus => {
        const known = seen.find((one) => one.secondary === secondary.name && one.zone === zone);
        const ours = runtime.zoneHistory.zone(zone)?.image.serial ?? 0;
        const { serial = null, transfer = null, notify = null } = known ?? {};
        return { secondary: secondary.name, zone, ours, serial, transfer, notify };
      }),
  );
}

export function secondaryProblems(nameServer: string, secondaries: readonly SecondaryStatus[]): string[] {
  return secondaries.flatMap(({ secondary, zone, notify }) => {
    if (notify === null || notify.result === 'sent' || notify.result === 'acknowledged') return [];
    const what = notify.result === 'refused' ? 'refuses' : 'does not answer';
    return [`secondary ${secondary} ${what} when ${nameServer} tells it that zone ${zone} has serial ${notify.serial}`];
  });
}
