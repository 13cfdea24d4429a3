/** Names of client groups for counting: the operator's network, else the country where a database says it. */
import type { ClientPlaces, Config } from '../../../config/model.ts';
import type { Address } from '../../../net/address.ts';
import { type AddressSegments, wordsOf } from '../../../net/address-segments.ts';
import { buildTrie, type PrefixTrie } from '../../../net/trie.ts';

export const OTHER_GROUP = 'other';
/** Names that are told apart: each is a series of the metrics. Further ones are among the others. */
const MAX_GROUPS = 500;

export interface ClientGroups {
  /** Of the users in the prefix of that length. */
  nameOf(address: Address, length: number): string;
}

export function clientGroups({ networks, clients }: Config): ClientGroups {
  if (clients !== null) return new PlacedGroups(clients);
  const trie: PrefixTrie<string> = buildTrie(networks.map(({ prefix, name }) => ({ prefix, value: name })));
  return { nameOf: (address, length) => trie.lookup(address, length).value ?? OTHER_GROUP };
}

class PlacedGroups implements ClientGroups {
  readonly #clients: ClientPlaces;
  readonly #names: readonly string[];

  constructor(clients: ClientPlaces) {
    this.#clients = clients;
    const known = new Set<string>();
    this.#names = clients.groups.map(({ entry, country }) => {
      const name = entry?.name ?? country;
      if (name === null || (!known.has(name) && known.size === MAX_GROUPS)) return OTHER_GROUP;
      known.add(name);
      return name;
    });
  }

  nameOf(address: Address): string {
    const group = valueAt(address.family === 4 ? this.#clients.ipv4 : this.#clients.ipv6, address);
    return this.#names[group] ?? OTHER_GROUP;
  }
}

/** Of the segment that the address is in. */
function valueAt({ family, count, starts, values }: AddressSegments, { bytes }: Address): number {
  const words = wordsOf(family);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let [low, high] = [0, count];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    let order = 0;
    for (let i = 0; i < words && order === 0; i++)
      order = (starts[middle * words + i] as number) - view.getUint32(i * 4);
    if (order <= 0) low = middle;
    else high = middle;
  }
  return values[low] as number;
}
