/** Choices of several sites that plans give as things are, so that their sets are signed ahead; others are signed when they are first told. */
import type { SteeringView } from '../../../decide/steer/nearest.ts';
import { choices } from '../../../decide/steer/plan.ts';
import type { CompiledZones } from '../zones.ts';
import type { Signing } from './signing.ts';

export function expectChoices(signing: Signing, zones: CompiledZones, view: SteeringView): void {
  for (const { name, zone, steered } of zones.names.values()) {
    const signed = steered === null ? null : signing.zoneOf(zone);
    if (steered === null || signed === null) continue;
    for (const plan of steered.steering.plans) {
      const { cycle } = choices(steered.steering, plan, view);
      for (const { sites } of new Set(cycle)) {
        if (sites.length === 1) continue;
        for (const sets of [steered.ipv4, steered.ipv6, steered.https]) {
          if (sets !== null) signed.choiceOf(name, sites, sets);
        }
      }
    }
  }
}
