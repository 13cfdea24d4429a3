/** How resolvers behave: columns drawn from the parameters. */
import type { Draws } from './draws.ts';
import { PUBLIC_OPERATORS, type ResolverList } from './resolvers.ts';
import type { ResolverParameters, World } from './types.ts';

/** Raising TTLs to so many times what they are is no longer obeying them. */
const VIOLATING_CLAMP = 3;

type Columns = World['resolver'];

/** `weight`: [resolver] share of all demand. `shortestTtlSeconds`: of all services. */
export function drawBehaviour(
  list: ResolverList,
  weight: Float64Array,
  shortestTtlSeconds: number,
  parameters: ResolverParameters,
  draws: Draws,
): Columns {
  const count = list.kind.length;
  const columns = {
    kind: list.kind,
    pool: new Uint16Array(count),
    ecs: new Uint8Array(count),
    prefetch: new Uint8Array(count),
    serveStale: new Uint8Array(count),
    clampMin: new Uint32Array(count),
    clampMax: new Uint32Array(count),
    lookupsByConnection: new Float32Array(count),
    lateShare: new Float32Array(count),
    lateSeconds: new Float32Array(count),
    violator: new Uint8Array(count),
  } satisfies Columns;
  const largest = weight.reduce((most, value) => Math.max(most, value), 0);
  const bit = (share: number): number => (draws.chance(share) ? 1 : 0);
  // All places of an operator run the same software.
  const operators = PUBLIC_OPERATORS.map(() => ({
    prefetch: bit(Math.max(0.5, parameters.prefetchShare)),
    serveStale: bit(parameters.serveStaleShare),
  }));
  for (let resolver = 0; resolver < count; resolver++) {
    const operator = operators[list.operator[resolver] as number];
    const size = largest === 0 ? 0 : Math.sqrt((weight[resolver] as number) / largest);
    columns.pool[resolver] = Math.max(1, Math.round(parameters.largestPool * size * draws.between(0.5, 1.5)));
    columns.ecs[resolver] =
      operator === undefined
        ? bit(parameters.ecsShare)
        : Number((list.operator[resolver] as number) < parameters.ecsPublicOperators);
    columns.prefetch[resolver] = operator?.prefetch ?? bit(parameters.prefetchShare);
    columns.serveStale[resolver] = operator?.serveStale ?? bit(parameters.serveStaleShare);
    columns.lookupsByConnection[resolver] = Math.min(
      1,
      parameters.lookupsByConnection * draws.lognormal(parameters.lookupSpread),
    );
    columns.lateShare[resolver] = parameters.lateShare * draws.uniform();
    columns.lateSeconds[resolver] = parameters.lateSeconds * draws.between(0.5, 1.5);
    if (operator !== undefined) continue;
    if (draws.chance(parameters.clampMinShare)) columns.clampMin[resolver] = parameters.clampMinSeconds;
    else if (draws.chance(parameters.clampMaxShare)) columns.clampMax[resolver] = parameters.clampMaxSeconds;
    if (draws.chance(parameters.violatorShare)) {
      columns.lateShare[resolver] = draws.between(...parameters.violatorLate);
      columns.lateSeconds[resolver] = draws.between(...parameters.violatorSeconds);
      columns.violator[resolver] = 1;
    }
    if ((columns.clampMin[resolver] as number) >= VIOLATING_CLAMP * shortestTtlSeconds) columns.violator[resolver] = 1;
  }
  return columns;
}
