/** What another map would move, in lines: for `portico steer diff` and `portico check --against`. */
import type { ServiceDiff } from '../decide/steer/map-diff.ts';

export function renderDiffs(diffs: readonly ServiceDiff[]): string[] {
  if (diffs.length === 0) return ['no client of DNS would go elsewhere'];
  return diffs.flatMap(({ service, movedDemand, movedIpv4, movedIpv6, scopes, newScopes, largest, movedUnits }) => {
    const demand =
      movedDemand === null ? 'an unknown part of the demand' : `${percent(movedDemand)} of the known demand`;
    const lines = [
      `service ${service}: ${demand} would move (${percent(movedIpv4)} of the IPv4 addresses, ${percent(movedIpv6)} of the IPv6 ones)`,
      `  ${newScopes} of ${scopes} scopes cut anew: resolvers with client subnets ask again for these`,
    ];
    for (const { prefix, movedShare, before, after } of largest)
      lines.push(`  ${prefix}: ${percent(movedShare)} of the demand, ${before} -> ${after}`);
    if (movedUnits > largest.length) lines.push(`  and ${movedUnits - largest.length} more networks`);
    return lines;
  });
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share > 0 && share < 0.01 ? 3 : 1)} %`;
}
