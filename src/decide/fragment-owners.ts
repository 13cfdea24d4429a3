/** Which balancer of a site owns which fragments (docs/vip.md): a small Maglev table, the same on all of them but for the numbers. */
import { populateTable } from './maglev.ts';

/**
 * `slots` numbers: 0 for `self`, else the position in `names`, from 1. `live`: those of `names` that take fragments; without any, or with `self`
 * alone, every fragment stays where it arrives. A balancer that comes or goes moves few of the others' slots.
 */
export function fragmentOwners(
  slots: number,
  names: readonly string[],
  live: ReadonlySet<string>,
  self: string,
): Uint16Array {
  const members = names.flatMap((name, i) => (live.has(name) ? [{ name, index: i + 1, weight: 1 }] : []));
  if (members.length === 0) return new Uint16Array(slots);
  const own = names.indexOf(self) + 1;
  return populateTable(slots, members).map((index) => (index === own ? 0 : index));
}
