/** The maps of an object: created in the size that the site needs, or adopted from pins of an earlier process. */
import { join } from 'node:path';
import {
  createMap,
  lookupElement,
  MAP_TYPE_ARRAY,
  type MapDefinition,
  mapInfo,
  openPinned,
  pinObject,
  updateElement,
} from './bpf.ts';
import { closeFd } from './libc.ts';
import type { BpfObject } from './object.ts';
import { removePin } from './pins.ts';

/** Maps that are there already, made by another object of the same instance. */
export type KnownMaps = ReadonlyMap<string, number>;

/** A pinned map is not what this version or this configuration needs; nothing was changed. */
export class LayoutMismatch extends Error {
  override readonly name = 'LayoutMismatch';
}

const REMEDY =
  'Take the instance down (portico down FILE), which interrupts its forwarding, and up again; or go back to the version and sizes before.';

const FIELDS: readonly (readonly [keyof MapDefinition, string])[] = [
  ['type', 'type'],
  ['keySizeBytes', 'key size'],
  ['valueSizeBytes', 'value size'],
  ['maxEntries', 'entries'],
  ['flags', 'flags'],
];

/** Throws `LayoutMismatch` when the pinned map `fd` is not as `wanted`. */
function compareDefinition(fd: number, wanted: MapDefinition, folder: string): void {
  const found = mapInfo(fd);
  const differences = FIELDS.filter(([field]) => found[field] !== wanted[field]).map(
    ([field, words]) => `${words} ${found[field]} instead of ${wanted[field]}`,
  );
  if (differences.length > 0) {
    throw new LayoutMismatch(`pinned map ${join(folder, wanted.name)}: ${differences.join(', ')}. ${REMEDY}`);
  }
}

/**
 * Before `load`: sets sizes, and makes the object use `known` and pinned maps. `folder` null: nothing is pinned.
 * Returns the names of the maps that the object will create.
 */
export function prepareMaps(
  object: BpfObject,
  folder: string | null,
  sizes: Readonly<Record<string, number>>,
  known: KnownMaps = new Map(),
): string[] {
  const created: string[] = [];
  for (const name of object.mapNames()) {
    const size = sizes[name];
    if (size !== undefined) object.setMaxEntries(name, size);
    const knownFd = known.get(name);
    if (knownFd !== undefined) {
      object.reuseMap(name, knownFd);
      continue;
    }
    const pinned = folder === null ? null : openPinned(join(folder, name));
    if (pinned === null) {
      created.push(name);
      continue;
    }
    try {
      compareDefinition(pinned, object.mapDefinition(name), folder ?? '');
      object.reuseMap(name, pinned);
    } finally {
      closeFd(pinned); // libbpf has its own
    }
  }
  return created;
}

/** After `load`: pins the maps that the object created. Returns the paths. */
export function pinMaps(object: BpfObject, folder: string, created: readonly string[]): string[] {
  return created.map((name) => {
    const path = join(folder, name);
    pinObject(object.mapFd(name), path);
    return path;
  });
}

/** The pin that says which layout the other maps have. */
const LAYOUT_PIN = 'layout';

const layoutKey = new Uint8Array(4);

/**
 * Compares the layout that the pinned maps were made with, or notes ours when there are none yet. Sizes alone would not
 * tell that two fields changed places. `digestHex`: 64 digits. True: the note was made now.
 */
export function agreeOnLayout(folder: string, digestHex: string): boolean {
  const digest = Buffer.from(digestHex, 'hex');
  const path = join(folder, LAYOUT_PIN);
  const pinned = openPinned(path);
  const fd =
    pinned ??
    createMap({ name: LAYOUT_PIN, type: MAP_TYPE_ARRAY, keySizeBytes: 4, valueSizeBytes: 32, maxEntries: 1, flags: 0 });
  try {
    if (pinned === null) {
      updateElement(fd, layoutKey, digest);
      pinObject(fd, path);
      return true;
    }
    const found = Buffer.alloc(32);
    lookupElement(fd, layoutKey, found);
    if (!found.equals(digest)) {
      throw new LayoutMismatch(`the maps in ${folder} were made by a version with another layout. ${REMEDY}`);
    }
    return false;
  } finally {
    closeFd(fd);
  }
}

/** Removes the pins of an object's maps; `roles` belongs to root. */
export function removeMapPins(object: BpfObject, folder: string): void {
  for (const name of object.mapNames()) if (name !== 'roles') removePin(join(folder, name));
}
