/**
 * A version of a role's programs takes over from the one before: maps are kept where both mean the same by what is in them, and
 * else made anew and filled (map-fates.ts). What the version before means stands in the BTF of its running program, which the kernel
 * keeps; nothing of it is written anywhere else.
 *
 * The order, so that no packet sees anything half: the new maps are complete, then the programs are exchanged between two packets, then
 * the kernel's grace period ends, then counters are added up, and only then the pins of the old maps go. Whatever fails before
 * the exchange leaves the version before as it was. New maps are pinned as NAME-next first: a process that ends in the
 * middle leaves pins from which the next one sees, by the maps of the running program, whether the exchange has happened.
 */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { runningProgram } from './attach.ts';
import { btfOfProgram, type MapDefinition, mapIdsOfProgram, mapInfo, openPinned, pinObject } from './bpf.ts';
import { type Btf, readBtfSection, type Type } from './btf.ts';
import { Conversion, Unconvertible } from './conversion.ts';
import { waitForGracePeriod } from './grace-period.ts';
import { closeFd } from './libc.ts';
import { addAtomically, addCounters, copyElements, mapArray, type OpenMap, shareTables } from './map-copies.ts';
import { type Fate, MAP_FATES, type PackingName } from './map-fates.ts';
import { LayoutMismatch, REMEDY } from './maps.ts';
import type { BpfObject } from './object.ts';
import { listPins, removePin } from './pins.ts';
import { longestLifetime, pauseInserts, raiseGeneration, resizeConnections } from './resize.ts';

/** What a version took over from the one before. */
export interface Inheritance {
  /** Maps that are as they were. */
  readonly kept: readonly string[];
  /** Maps that were made anew, with what was in them: how they differ. */
  readonly migrated: readonly { readonly map: string; readonly how: string }[];
  /** Maps that begin empty: what was in them. */
  readonly forgotten: readonly { readonly map: string; readonly lost: string }[];
}

export interface TakeoverOptions {
  readonly object: BpfObject;
  /** BTF of the object's file. */
  readonly btf: Btf;
  /** Null: nothing is pinned and nothing taken over. */
  readonly folder: string | null;
  readonly role: number;
  readonly rolesFd: number;
  /** Entries of maps whose size the site decides. */
  readonly sizes: Readonly<Record<string, number>>;
  /** Elements of a subject in the map of counters of this version. */
  readonly counterStride: number;
}

interface Change {
  readonly name: string;
  readonly fate: Fate;
  readonly old: OpenMap;
  readonly key: Conversion;
  readonly value: Conversion;
  readonly how: string;
}

interface Predecessor {
  readonly programFd: number;
  readonly btf: Btf;
}

const NEXT = '-next';
const NOTHING: Type = { kind: 'struct', name: '', sizeBytes: 0, fields: [] };
const UNLISTED: Fate = { kind: 'refuse' };

function refuse(name: string, reason: string): never {
  throw new LayoutMismatch(`map ${name} cannot be taken over: ${reason}. ${REMEDY}`);
}

function packingOf(btf: Btf, name: PackingName): number | undefined {
  return btf.enums.get('packing')?.get(`PACKING_${name}`);
}

const SIZES: readonly (readonly [keyof MapDefinition, string])[] = [
  ['keySizeBytes', 'key of'],
  ['valueSizeBytes', 'value of'],
  ['maxEntries', 'entries'],
];

function describe(found: MapDefinition, wanted: MapDefinition, value: Conversion): string {
  const sizes = SIZES.filter(([field]) => found[field] !== wanted[field]).map(
    ([field, words]) => `${words} ${wanted[field]}${field === 'maxEntries' ? '' : ' bytes'} instead of ${found[field]}`,
  );
  const fields = (words: string, names: readonly string[]) =>
    names.length === 0 ? [] : [`${words} ${names.slice(0, 5).join(', ')}${names.length > 5 ? ', ...' : ''}`];
  const all = [...sizes, ...fields('new:', value.added), ...fields('gone:', value.dropped)];
  return all.length === 0 ? 'fields moved' : all.join('; ');
}

export class Takeover {
  /** Null: there was nobody to take over from. After `prepare`. */
  inheritance: Inheritance | null = null;
  readonly #options: TakeoverOptions;
  readonly #previous: Predecessor | null;
  readonly #changes: Change[] = [];
  readonly #created: string[] = [];
  #resume: (() => void) | null = null;
  #uncounted: Uint32Array | null = null;
  #closed = false;
  /** The new programs have taken the place of the old ones. */
  #isExchanged = false;

  /** Looks who runs, and tidies up after a process that ended in the middle of an exchange. */
  constructor(options: TakeoverOptions) {
    this.#options = options;
    const { folder, role, rolesFd } = options;
    const programFd = folder === null ? null : runningProgram(rolesFd, role);
    this.#previous = null;
    if (programFd === null || folder === null) {
      this.#removeLeftovers();
      return;
    }
    try {
      const section = btfOfProgram(programFd);
      if (section === null) throw new LayoutMismatch(`the program in ${folder} does not tell its layout. ${REMEDY}`);
      this.#previous = { programFd, btf: readBtfSection(section) };
      this.#completePins(programFd, folder);
    } catch (error) {
      closeFd(programFd);
      throw error;
    }
  }

  /** Pins of maps that no program uses. */
  #removeLeftovers(): void {
    const { folder, object } = this.#options;
    if (folder === null) return;
    for (const name of object.mapNames()) {
      if (MAP_FATES[name]?.kind === 'shared') continue;
      removePin(join(folder, name));
      removePin(join(folder, name + NEXT));
    }
  }

  #completePins(programFd: number, folder: string): void {
    const names = new Set([
      ...this.#options.object.mapNames(),
      ...(this.#previous?.btf.maps ?? []).map(({ name }) => name),
    ]);
    const waiting = listPins(folder).filter((pin) => pin.endsWith(NEXT) && names.has(pin.slice(0, -NEXT.length)));
    if (waiting.length === 0) return;
    const used = mapIdsOfProgram(programFd);
    const isUsed = (pin: string) => {
      const fd = openPinned(join(folder, pin));
      if (fd === null) return false;
      const { id } = mapInfo(fd);
      closeFd(fd);
      return used.includes(id);
    };
    const hasHappened = waiting.some(isUsed);
    for (const pin of waiting) {
      if (hasHappened) renameSync(join(folder, pin), join(folder, pin.slice(0, -NEXT.length)));
      else removePin(join(folder, pin));
    }
  }

  /** Before the object is loaded: decides of each map whether it is kept. Throws `LayoutMismatch`. */
  prepare(): void {
    const { object, rolesFd, sizes, folder } = this.#options;
    this.#agreeOnRoles();
    const kept: string[] = [];
    const forgotten: { map: string; lost: string }[] = [];
    for (const name of object.mapNames()) {
      const size = sizes[name];
      if (size !== undefined) object.setMaxEntries(name, size);
      const fate = MAP_FATES[name] ?? UNLISTED;
      if (fate.kind === 'shared') {
        object.reuseMap(name, rolesFd);
        continue;
      }
      const isFresh = this.#previous === null || folder === null || fate.kind === 'new';
      const fd = isFresh ? null : openPinned(join(folder, name));
      const change = fd === null ? null : this.#compare(name, fate, fd);
      if (fd !== null && change === null) {
        object.reuseMap(name, fd);
        closeFd(fd); // libbpf has its own
        kept.push(name);
        continue;
      }
      this.#created.push(name);
      if (change === null) continue;
      this.#changes.push(change);
      if (fate.kind === 'forget') forgotten.push({ map: name, lost: fate.lost ?? '' });
      if (fate.kind === 'renew' && change.value.isSame) kept.push(name);
    }
    if (this.#previous === null) return;
    const isMigrated = ({ fate, value }: Change) => fate.kind !== 'forget' && !(fate.kind === 'renew' && value.isSame);
    const migrated = this.#changes.filter(isMigrated).map(({ name, how }) => ({ map: name, how }));
    this.inheritance = { kept, migrated, forgotten };
  }

  /** The places in `roles` must mean the same to all versions. */
  #agreeOnRoles(): void {
    const old = this.#previous?.btf.enums.get('role');
    for (const [name, value] of this.#options.btf.enums.get('role') ?? []) {
      const before = old?.get(name);
      if (name !== 'ROLE_COUNT' && before !== undefined && before !== value) {
        refuse('roles', `${name} had place ${before} and has ${value} now`);
      }
    }
  }

  #typesOf(btf: Btf, name: string): { key: Type; value: Type } {
    const record = MAP_FATES[name]?.record;
    if (record !== undefined) return { key: NOTHING, value: btf.structs.get(record) ?? NOTHING };
    const types = btf.maps.find((map) => map.name === name);
    return { key: types?.key ?? NOTHING, value: types?.value ?? NOTHING };
  }

  /** Null: the map is kept. The descriptor is the change's. */
  #compare(name: string, fate: Fate, fd: number): Change | null {
    const { btf, object } = this.#options;
    const old = this.#previous!.btf;
    const found = { ...mapInfo(fd), name };
    const wanted = object.mapDefinition(name);
    const [before, now] = [this.#typesOf(old, name), this.#typesOf(btf, name)];
    const key = new Conversion({ btf: old, type: before.key }, { btf, type: now.key });
    const value = new Conversion({ btf: old, type: before.value }, { btf, type: now.value });
    const isSameKind = found.type === wanted.type && found.flags === wanted.flags;
    const { packing } = fate;
    const isPackedAlike = packing === undefined || packingOf(old, packing) === packingOf(btf, packing);
    const isSameSize = SIZES.every(([field]) => found[field] === wanted[field]);
    if (fate.kind !== 'renew' && isSameKind && isPackedAlike && isSameSize && key.isSame && value.isSame) return null;
    const how = describe(found, wanted, value);
    const change = { name, fate, old: { fd, definition: found }, key, value, how };
    if (fate.kind === 'forget') return change;
    const reason =
      fate.kind === 'refuse'
        ? `it differs (${how}), and nothing says how to convert it`
        : !isSameKind
          ? 'it is of another type'
          : !isPackedAlike && packing !== undefined
            ? `its words are packed as version ${packingOf(old, packing) ?? 'unknown'} of ${packing}, this version of Portico packs as ${packingOf(btf, packing)}; made anew, ${fate.breaks ?? 'what is in it would be lost'}`
            : null;
    if (reason === null) return change;
    closeFd(fd);
    return refuse(name, reason);
  }

  /** After the object is loaded: fills and pins the new maps. Throws `LayoutMismatch` where something has no place. */
  fill(): void {
    const { object, folder } = this.#options;
    // Connections last: for them services are changed for a while.
    this.#changes.sort((a, b) => Number(a.fate.kind === 'connections') - Number(b.fate.kind === 'connections'));
    for (const change of this.#changes) {
      try {
        this.#fillOne(change);
      } catch (error) {
        if (error instanceof Unconvertible) refuse(change.name, error.message);
        throw error;
      }
    }
    if (folder === null) return;
    const suffix = this.#previous === null ? '' : NEXT;
    for (const name of this.#created) pinObject(object.mapFd(name), join(folder, name + suffix));
  }

  #fresh(name: string): OpenMap {
    const { object } = this.#options;
    return { fd: object.mapFd(name), definition: object.mapDefinition(name) };
  }

  #fillOne({ name, fate, old, key, value }: Change): void {
    if (fate.kind === 'copy' || fate.kind === 'renew') copyElements(old, this.#fresh(name), key, value);
    if (fate.kind === 'tables') shareTables(old, this.#fresh(name));
    if (fate.kind === 'connections') this.#resizeConnections(old, this.#fresh(name));
  }

  #openOld(name: string): OpenMap {
    const fd = openPinned(join(this.#options.folder ?? '', name));
    if (fd === null) throw new Unconvertible(`there is no map ${name}`);
    return { fd, definition: { ...mapInfo(fd), name } };
  }

  #resizeConnections(old: OpenMap, fresh: OpenMap): void {
    const { btf } = this.#previous!;
    const services = this.#openOld('services');
    const settings = this.#openOld('settings');
    const resume = pauseInserts(btf, services, settings);
    this.#resume = () => {
      resume();
      raiseGeneration(this.#options.btf, this.#fresh('settings'));
      closeFd(services.fd);
      closeFd(settings.fd);
    };
    this.#uncounted = resizeConnections(old, fresh, longestLifetime(btf, services));
  }

  /**
   * `exchange` puts the new programs in place of the old ones. Afterwards waits until no packet is in the old ones, adds up counters and
   * drops the old maps. About 10 ms.
   */
  finish(exchange: () => void): void {
    exchange();
    this.#isExchanged = true;
    if (this.#previous === null) return;
    waitForGracePeriod();
    this.#resume?.(); // the map of services may have been kept
    this.#resume = null;
    for (const change of this.#changes) this.#addOne(change);
    if (this.#uncounted !== null) this.#discount(this.#uncounted);
    this.#commit();
    this.#closeOld();
  }

  #addOne({ name, fate, old, value }: Change): void {
    if (fate.kind === 'tally') addAtomically(old, this.#fresh(name));
    if (fate.kind !== 'count') return;
    const from = name === 'counters' ? this.#oldStride() : old.definition.maxEntries;
    const fresh = this.#fresh(name);
    addCounters(old, fresh, value, { from, to: this.#options.counterStride });
  }

  /** Elements of a subject in the old map of counters. */
  #oldStride(): number {
    const settings = this.#changes.find(({ name }) => name === 'settings');
    const field = this.#previous?.btf.structs.get('settings')?.fields.find(({ name }) => name === 'cpus');
    if (settings === undefined || field === undefined) throw new Error('the old counters have no stride');
    const memory = mapArray(settings.old);
    const stride = new DataView(memory.buffer).getUint32(field.offsetBits / 8, true);
    memory.unmap();
    return stride;
  }

  #discount(uncounted: Uint32Array): void {
    const memory = mapArray(this.#fresh('active_connections'));
    const active = new BigInt64Array(memory.buffer);
    uncounted.forEach((count, index) => {
      if (count > 0) Atomics.sub(active, index, BigInt(count));
    });
    memory.unmap();
  }

  #commit(): void {
    const { folder, object } = this.#options;
    if (folder === null) return;
    for (const name of this.#created) renameSync(join(folder, name + NEXT), join(folder, name));
    const names = object.mapNames();
    for (const { name } of this.#previous?.btf.maps ?? []) if (!names.includes(name)) removePin(join(folder, name));
  }

  #closeOld(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { old } of this.#changes) closeFd(old.fd);
    if (this.#previous !== null) closeFd(this.#previous.programFd);
  }

  /**
   * Because of `error`, whose message will say what came of it: before the exchange nothing did, and the version before goes on as it was;
   * after it the new maps are in use, and the next start finishes what is left to do.
   */
  abort(error: unknown): void {
    if (this.#closed) return;
    const outcome = this.#isExchanged
      ? 'The new programs run already; what is left of the old ones goes at the next start.'
      : 'What ran before goes on as it was.';
    if (this.#previous !== null && error instanceof Error) error.message += `\n${outcome}`;
    this.#resume?.();
    this.#resume = null;
    const { folder } = this.#options;
    if (folder !== null && this.#previous !== null && !this.#isExchanged) {
      for (const name of this.#created) removePin(join(folder, name + NEXT));
    }
    this.#closeOld();
  }

  /** There is a version to take over from. */
  get hasPrevious(): boolean {
    return this.#previous !== null;
  }
}
