/** What parameters of a world may be. */
import type { WorldParameters } from './types.ts';

/** All that is wrong, one line each. */
export function parameterProblems(parameters: WorldParameters): string[] {
  const problems: string[] = [];
  const range = (path: string, value: number, low: number, high: number, whole = false): void => {
    if (value >= low && value <= high && (!whole || Number.isInteger(value))) return;
    problems.push(`${path}: ${value} is no ${whole ? 'whole ' : ''}number from ${low} to ${high}`);
  };
  range('prefixes', parameters.prefixes, 10, 1_000_000, true);
  range('resolvers', parameters.resolvers, 1, 100_000, true);
  range('sites', parameters.sites, 1, 100, true);
  range('ipv6Share', parameters.ipv6Share, 0, 1);
  range('headroom', parameters.headroom, 0.01, 100);
  range('linkHeadroom', parameters.linkHeadroom, 0.01, 100);
  range('linksPerSite', parameters.linksPerSite, 1, 8, true);
  for (const section of ['resolver', 'network', 'observation'] as const) {
    for (const [name, value] of Object.entries(parameters[section]) as [string, number | readonly number[]][]) {
      const high = name.endsWith('Share') ? 1 : name.endsWith('Rows') ? 2 ** 24 : 1e6;
      for (const number of typeof value === 'number' ? [value] : value) range(`${section}.${name}`, number, 0, high);
    }
  }
  range('demand.connectionsPerSecond', parameters.demand.connectionsPerSecond, 1e-6, 1e9);
  range('demand.prefixSpread', parameters.demand.prefixSpread, 0, 3);
  range('demand.dayPeak', parameters.demand.dayPeak, 1, 2);
  range('demand.noise', parameters.demand.noise, 0, 0.25);
  range('services', parameters.services.length, 1, 16, true);
  for (const [index, service] of parameters.services.entries()) {
    range(`services[${index}].share`, service.share, 0, 1);
    range(`services[${index}].ttlSeconds`, service.ttlSeconds, 1, 86_400, true);
    range(`services[${index}].bitsPerConnection`, service.bitsPerConnection, 0, 1e12);
  }
  const all = parameters.services.reduce((sum, service) => sum + service.share, 0);
  if (Math.abs(all - 1) > 1e-9) problems.push(`services: their shares add up to ${all} instead of 1`);
  return problems;
}

export function checkParameters(parameters: WorldParameters): void {
  const problems = parameterProblems(parameters);
  if (problems.length > 0) throw new RangeError(problems.join('\n'));
}
