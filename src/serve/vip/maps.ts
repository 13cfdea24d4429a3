/** Maps of an instance: what happens to those that are not what this version needs, and those of objects beside the roles'. */
import { join } from 'node:path';
import { type MapDefinition, mapInfo, openPinned } from './bpf.ts';
import { closeFd } from './libc.ts';
import { MAP_FATES } from './map-fates.ts';
import type { BpfObject } from './object.ts';
import { removePin, replacePin } from './pins.ts';

/** What is pinned cannot be taken over by this version or with this configuration; nothing was changed. */
export class LayoutMismatch extends Error {
  override readonly name = 'LayoutMismatch';
}

export const REMEDY =
  'Take the instance down (portico down FILE), which interrupts its forwarding, and up again; or go back to the version and sizes before.';

/** Removes the pins of an object's own maps. */
export function removeMapPins(object: BpfObject, folder: string): void {
  for (const name of object.mapNames()) {
    if (MAP_FATES[name]?.kind !== 'shared') removePin(join(folder, name));
  }
}

/**
 * For objects beside the roles', whose maps are filled by whoever opens them: before `load` sets sizes, and makes the object use
 * `known` maps and pinned ones of the same definition. Returns the names of the maps that it will create.
 */
export function prepareMaps(
  object: BpfObject,
  folder: string | null,
  sizes: Readonly<Record<string, number>>,
  known: ReadonlyMap<string, number>,
): string[] {
  const created: string[] = [];
  for (const name of object.mapNames()) {
    if (sizes[name] !== undefined) object.setMaxEntries(name, sizes[name]);
    const knownFd = known.get(name);
    if (knownFd !== undefined) {
      object.reuseMap(name, knownFd);
      continue;
    }
    const pinned = folder === null ? null : openPinned(join(folder, name));
    if (pinned !== null && isSameDefinition(mapInfo(pinned), object.mapDefinition(name))) object.reuseMap(name, pinned);
    else created.push(name);
    if (pinned !== null) closeFd(pinned); // libbpf has its own
  }
  return created;
}

function isSameDefinition(found: MapDefinition, wanted: MapDefinition): boolean {
  const fields = ['type', 'keySizeBytes', 'valueSizeBytes', 'maxEntries', 'flags'] as const;
  return fields.every((field) => found[field] === wanted[field]);
}

/** After `load`: pins the maps that the object created, in place of others of that name. */
export function pinMaps(object: BpfObject, folder: string, created: readonly string[]): void {
  for (const name of created) replacePin(object.mapFd(name), join(folder, name));
}
