/** The operator's networks, from the configuration and from lists, while they are read: columns, and groups of what they say. */
import type { ListedEntries } from '../../../config/location-files.ts';
import type { ClientGroup, NetworkEntry } from '../../../config/model.ts';
import { UNKNOWN_CLIENTS } from '../../../decide/steer/clients.ts';
import type { Prefix } from '../../../net/address.ts';
import { flattenPrefixes, PrefixColumns, prefixAt } from '../../../net/address-segments.ts';
import { shareSegments } from '../../../net/segment-overlay.ts';
import type { ListEntry } from './list-file.ts';

/** Of an entry: the file, by number, and its line; in `networks` null and the index there. */
export interface EntryPlace {
  readonly file: string | null;
  readonly line: number;
}

export class EntryTable {
  /** Of all entries; the first is of addresses that none covers. */
  readonly groups: ClientGroup[] = [UNKNOWN_CLIENTS];
  readonly #files: string[] = [];
  readonly #columns = { 4: new PrefixColumns(4), 6: new PrefixColumns(6) };
  readonly #groupOf: number[] = [];
  readonly #fileOf: number[] = [];
  readonly #lineOf: number[] = [];
  readonly #lengthOf: number[] = [];
  readonly #byPlace = new Map<string, number>();

  addNetworks(networks: readonly NetworkEntry[]): void {
    for (const [index, entry] of networks.entries()) {
      const { location, site } = entry;
      const group = this.groups.push({ ...UNKNOWN_CLIENTS, entry, location, site }) - 1;
      this.#add(entry, group, IN_CONFIGURATION, index);
    }
  }

  /** The number by which `addListed` names it. */
  addFile(file: string): number {
    return this.#files.push(file) - 1;
  }

  /** `name`: what the list is called. Entries that know their demand are units of their own; others at the same place are one group. */
  addListed(entry: ListEntry, file: number, name: string): void {
    const { prefix, site, location, demand, line } = entry;
    if (demand !== null) {
      const unit = { name, prefix, site, location, demand };
      this.#add(entry, this.groups.push({ ...UNKNOWN_CLIENTS, entry: unit, site, location }) - 1, file, line);
      return;
    }
    const key = site ?? `${location?.latitudeDegrees} ${location?.longitudeDegrees}`;
    let group = this.#byPlace.get(key);
    if (group === undefined) {
      group = this.groups.push({ ...UNKNOWN_CLIENTS, site, location }) - 1;
      this.#byPlace.set(key, group);
    }
    this.#add(entry, group, file, line);
  }

  /** `onTwin`: of two entries with the same prefix. Afterwards nothing is added any more. */
  finish(onTwin: (prefix: Prefix, later: EntryPlace, earlier: EntryPlace) => void): {
    readonly entries: ListedEntries;
    readonly groupOf: Uint32Array;
  } {
    const row = (list: PrefixColumns) => {
      const tell = (later: number, earlier: number) => {
        onTwin(prefixAt(list, later), this.#placeOf(list.values[later]), this.#placeOf(list.values[earlier]));
      };
      return shareSegments(flattenPrefixes(list, tell));
    };
    const [ipv4, ipv6] = [row(this.#columns[4]), row(this.#columns[6])];
    const count = this.#lineOf.length;
    const fileOf = new Uint16Array(new SharedArrayBuffer(count * 2));
    const lineOf = new Uint32Array(new SharedArrayBuffer(count * 4));
    const lengthOf = new Uint8Array(new SharedArrayBuffer(count));
    fileOf.set(this.#fileOf.map((file) => (file === IN_CONFIGURATION ? this.#files.length : file)));
    lineOf.set(this.#lineOf);
    lengthOf.set(this.#lengthOf);
    const entries = { ipv4, ipv6, files: this.#files, fileOf, lineOf, lengthOf };
    return { entries, groupOf: Uint32Array.from(this.#groupOf) };
  }

  #add({ prefix, demand }: Pick<NetworkEntry, 'prefix' | 'demand'>, group: number, file: number, line: number): void {
    const { family, bytes } = prefix.address;
    this.#columns[family].add(bytes, 0, prefix.length, this.#lineOf.length, demand ?? Number.NaN);
    this.#groupOf.push(group);
    this.#fileOf.push(file);
    this.#lineOf.push(line);
    this.#lengthOf.push(prefix.length);
  }

  #placeOf(entry: number): EntryPlace {
    const file = this.#fileOf[entry];
    return { file: file === IN_CONFIGURATION ? null : this.#files[file], line: this.#lineOf[entry] };
  }
}

const IN_CONFIGURATION = -1;
