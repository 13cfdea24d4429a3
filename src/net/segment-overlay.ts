/** Several rows of segments laid over each other: where each of them has which value. */
import type { AddressSegments } from './address-segments.ts';
import { wordsOf } from './address-segments.ts';
import { NO_VALUE } from './prefix-map.ts';

/**
 * One row that changes where any of the layers changes. `combine` gets the layers' values at a segment (an array that is used again) and
 * gives the row's; equal neighbours are one. Densities are the first layer's, or of `weighing`, where it has a value, that layer's. Cost: one
 * step for each segment of each layer.
 */
export function overlaySegments(
  layers: readonly AddressSegments[],
  combine: (values: Uint32Array) => number,
  weighing = 0,
): AddressSegments {
  const [first] = layers;
  const { family } = first;
  const words = wordsOf(family);
  const most = layers.reduce((sum, { count }) => sum + count, 0);
  const starts = new Uint32Array(most * words);
  const values = new Uint32Array(most);
  const densities = new Float64Array(most);
  const at = new Uint32Array(layers.length);
  const current = Uint32Array.from(layers, (layer) => layer.values[0]);
  let [count, source, place] = [0, 0, 0];
  for (;;) {
    const value = combine(current);
    const weigher = current[weighing] === NO_VALUE ? first : layers[weighing];
    const density = weigher.densities[at[weigher === first ? 0 : weighing]];
    if (count === 0 || values[count - 1] !== value || densities[count - 1] !== density) {
      for (let i = 0; i < words; i++) starts[count * words + i] = layers[source].starts[place * words + i];
      values[count] = value;
      densities[count++] = density;
    }
    const next = nextLayer(layers, at, words);
    if (next < 0) break;
    source = next;
    place = at[next] + 1;
    for (let layer = 0; layer < layers.length; layer++) {
      if (!startsAt(layers[layer], at[layer] + 1, layers[source].starts, place, words)) continue;
      at[layer]++;
      current[layer] = layers[layer].values[at[layer]];
    }
  }
  return shareSegments({ family, count, starts, values, densities });
}

/** The same in memory that threads share, no larger than it has to be. */
export function shareSegments({ family, count, starts, values, densities }: AddressSegments): AddressSegments {
  const words = wordsOf(family);
  const shared = {
    starts: new Uint32Array(new SharedArrayBuffer(count * words * 4)),
    values: new Uint32Array(new SharedArrayBuffer(count * 4)),
    densities: new Float64Array(new SharedArrayBuffer(count * 8)),
  };
  shared.starts.set(starts.subarray(0, count * words));
  shared.values.set(values.subarray(0, count));
  shared.densities.set(densities.subarray(0, count));
  return { family, count, ...shared };
}

/** The layer whose next segment begins first; -1: all are at their last. */
function nextLayer(layers: readonly AddressSegments[], at: Uint32Array, words: number): number {
  let best = -1;
  for (let layer = 0; layer < layers.length; layer++) {
    const next = at[layer] + 1;
    if (next >= layers[layer].count) continue;
    if (best < 0 || isBefore(layers[layer].starts, next, layers[best].starts, at[best] + 1, words)) best = layer;
  }
  return best;
}

function isBefore(a: Uint32Array, i: number, b: Uint32Array, j: number, words: number): boolean {
  for (let word = 0; word < words; word++) {
    const [left, right] = [a[i * words + word], b[j * words + word]];
    if (left !== right) return left < right;
  }
  return false;
}

function startsAt(layer: AddressSegments, index: number, starts: Uint32Array, place: number, words: number): boolean {
  if (index >= layer.count) return false;
  for (let i = 0; i < words; i++) if (layer.starts[index * words + i] !== starts[place * words + i]) return false;
  return true;
}

/** The segment that an address is in. Cost: a binary search. */
export function segmentAt({ family, count, starts }: AddressSegments, bytes: Uint8Array): number {
  const words = wordsOf(family);
  const key = new Uint32Array(words);
  for (let i = 0; i < words * 4; i++) key[i >> 2] = (key[i >> 2] << 8) | bytes[i];
  let [low, high] = [0, count];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (isBefore(key, 0, starts, middle, words)) high = middle;
    else low = middle;
  }
  return low;
}
