/** The operator's entries laid over databases: groups of clients of whom the same is known. */
import type { ListedEntries } from '../../../config/location-files.ts';
import type { ClientGroup, ClientPlaces } from '../../../config/model.ts';
import { UNKNOWN_CLIENTS } from '../../../decide/steer/clients.ts';
import { NO_VALUE } from '../../../net/prefix-map.ts';
import { overlaySegments } from '../../../net/segment-overlay.ts';
import type { DatabaseLayer, Known } from './database.ts';

/** `groups` and `groupOf`: of entries, the first group being that of addresses without one. */
export interface ListedGroups {
  readonly groups: readonly ClientGroup[];
  readonly groupOf: Uint32Array;
}

/**
 * Each thing is taken from the first that says it: the operator's entry, then the databases in their order. An entry that names a site says
 * where its clients are.
 */
export function combineLayers(
  entries: ListedEntries,
  listed: ListedGroups,
  databases: readonly DatabaseLayer[],
): Pick<ClientPlaces, 'groups' | 'ipv4' | 'ipv6'> {
  if (databases.length === 0) {
    const own = ([entry]: Uint32Array) => (entry === NO_VALUE ? 0 : listed.groupOf[entry]);
    const row = (family: 'ipv4' | 'ipv6') => overlaySegments([entries[family]], own);
    return { groups: listed.groups, ipv4: row('ipv4'), ipv6: row('ipv6') };
  }
  const groups: ClientGroup[] = [];
  const byText = new Map<string, number>();
  const groupAt = (values: readonly number[]): number => {
    const group = mergeKnown(
      listed.groups[values[0]],
      databases.map(({ known }, index) => known[values[index + 1]]),
    );
    const text = textOf(group, group.entry === null ? 0 : values[0]);
    const index = byText.get(text) ?? groups.push(group) - 1;
    byText.set(text, index);
    return index;
  };
  // So that the first is of those of whom nothing is known.
  groupAt(new Array(databases.length + 1).fill(0));
  const numbers = new TupleNumbers(groupAt);
  const row = new Uint32Array(databases.length + 1);
  const combine = (values: Uint32Array): number => {
    row.set(values);
    row[0] = values[0] === NO_VALUE ? 0 : listed.groupOf[values[0]];
    return numbers.of(row);
  };
  const layers = (family: 'ipv4' | 'ipv6') => [entries[family], ...databases.map((database) => database[family])];
  return { groups, ipv4: overlaySegments(layers('ipv4'), combine), ipv6: overlaySegments(layers('ipv6'), combine) };
}

/** The same for groups that say the same. */
function textOf({ location, site, continent, country, asn }: ClientGroup, entry: number): string {
  return `${entry} ${site} ${location?.latitudeDegrees} ${location?.longitudeDegrees} ${continent} ${country} ${asn}`;
}

function mergeKnown(listed: ClientGroup, databases: readonly Known[]): ClientGroup {
  const group = { ...UNKNOWN_CLIENTS, ...listed };
  for (const { continent = null, country = null, asn = null, location = null } of databases) {
    group.continent ??= continent;
    group.country ??= country;
    group.asn ??= asn;
    if (group.site === null) group.location ??= location;
  }
  return group;
}

/** Numbers for rows of numbers, the same for the same: two at a time, so that no text is made for each segment. */
class TupleNumbers {
  readonly #pairs: Map<number, number>[] = [];
  readonly #results: number[] = [];
  readonly #make: (values: readonly number[]) => number;

  constructor(make: (values: readonly number[]) => number) {
    this.#make = make;
  }

  of(values: Uint32Array): number {
    let number = values[0];
    for (let i = 1; i < values.length; i++) {
      this.#pairs[i] ??= new Map();
      const pairs = this.#pairs[i];
      const pair = number * 2 ** 26 + values[i];
      let known = pairs.get(pair);
      if (known === undefined) {
        known = pairs.size;
        pairs.set(pair, known);
      }
      number = known;
    }
    this.#results[number] ??= this.#make([...values]);
    return this.#results[number];
  }
}
