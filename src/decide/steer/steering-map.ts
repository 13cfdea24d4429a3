/** From groups to asking prefixes: what each is answered, so that all of a group together are where the group should be. */
import type { SteeredGroups } from './demand/groups.ts';
import type { MeasuredMap, SiteShare } from './measured.ts';

/**
 * The map of asking prefixes. A group of many subnets that is split is divided among them, whole ones as far as possible; a resolver that is
 * split answers in turns. Cost: some 20 ns an asking prefix and class.
 */
export function expandMap(groups: SteeredGroups, its: MeasuredMap, version: number): MeasuredMap {
  const { askers, groupOf, partOf, ids } = groups;
  const { classes } = its;
  const site = new Uint16Array(askers.length * classes);
  const splits = new Map<number, readonly SiteShare[]>();
  const given = new Map<number, number>();
  for (let at = 0; at < askers.length; at++) {
    const group = groupOf[at];
    for (let c = 0; c < classes; c++) {
      const from = group * classes + c;
      const item = at * classes + c;
      const shares = its.splits.get(from);
      if (shares === undefined) site[item] = its.site[from];
      else if (ids[group] === askers[at] && partOf[at] > 0.999) {
        site[item] = its.site[from];
        splits.set(item, shares);
      } else {
        const before = given.get(from) ?? 0;
        given.set(from, before + partOf[at]);
        site[item] = siteAt(shares, before + partOf[at] / 2);
      }
    }
  }
  return { version, groups: askers, classes, site, splits };
}

/** Shares laid end to end: whose is at `position`, 0 to 1. */
function siteAt(shares: readonly SiteShare[], position: number): number {
  let end = 0;
  for (const { site, share } of shares) {
    end += share;
    if (position < end) return site;
  }
  return shares[shares.length - 1].site;
}

export function isSameMap(a: MeasuredMap, b: MeasuredMap): boolean {
  if (a.groups.length !== b.groups.length || a.classes !== b.classes || a.splits.size !== b.splits.size) return false;
  for (let at = 0; at < a.groups.length; at++) if (a.groups[at] !== b.groups[at]) return false;
  for (let item = 0; item < a.site.length; item++) if (a.site[item] !== b.site[item]) return false;
  for (const [item, shares] of a.splits) {
    const other = b.splits.get(item);
    if (other === undefined || other.length !== shares.length) return false;
    if (shares.some(({ site, share }, n) => other[n].site !== site || other[n].share !== share)) return false;
  }
  return true;
}
