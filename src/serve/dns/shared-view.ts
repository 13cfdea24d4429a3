/**
 * The steering view in shared memory: one thread looks at the sites and publishes, others read. Where a site stands follows from the
 * configuration, so both sides must have the same one.
 */
import type { Config } from '../../config/model.ts';
import type { SteeringView } from '../../decide/steer/nearest.ts';

const UP = 1;
const FULL = 2;
const WAS_UP = 4;

/** Each service at each site, numbered. */
export class SiteLayout {
  readonly pairs: readonly { readonly service: string; readonly site: string }[];
  readonly #numbers = new Map<string, Map<string, number>>();

  constructor({ services, sites }: Config) {
    const pairs: { service: string; site: string }[] = [];
    for (const service of services.keys()) {
      const numbers = new Map<string, number>();
      for (const site of sites.keys()) numbers.set(site, pairs.push({ service, site }) - 1);
      this.#numbers.set(service, numbers);
    }
    this.pairs = pairs;
  }

  numberOf(service: string, site: string): number {
    const number = this.#numbers.get(service)?.get(site);
    if (number === undefined) throw new Error(`service ${service} at site ${site} is not in the configuration`);
    return number;
  }
}

/** Word 0 counts changes. */
export function createViewMemory(layout: SiteLayout): SharedArrayBuffer {
  return new SharedArrayBuffer((layout.pairs.length + 1) * 4);
}

/** Looks at every site; readers see all of it or, for a moment, a part. Gives whether something changed. */
export function publishView(layout: SiteLayout, view: SteeringView, memory: SharedArrayBuffer): boolean {
  const words = new Int32Array(memory);
  let changed = false;
  for (const [number, { service, site }] of layout.pairs.entries()) {
    const wasUp = view.siteWasUp?.(service, site) ?? false;
    const word =
      (view.siteUp(service, site) ? UP : 0) | (view.siteFull(service, site) ? FULL : 0) | (wasUp ? WAS_UP : 0);
    changed ||= words[number + 1] !== word;
    words[number + 1] = word;
  }
  if (changed) Atomics.add(words, 0, 1);
  return changed;
}

export class SharedView implements SteeringView {
  readonly #layout: SiteLayout;
  readonly #words: Int32Array;

  constructor(layout: SiteLayout, memory: SharedArrayBuffer) {
    this.#layout = layout;
    this.#words = new Int32Array(memory);
  }

  /** Another number than before: something changed. */
  get version(): number {
    return Atomics.load(this.#words, 0);
  }

  siteUp(service: string, site: string): boolean {
    return (this.#words[this.#layout.numberOf(service, site) + 1] & UP) !== 0;
  }

  siteFull(service: string, site: string): boolean {
    return (this.#words[this.#layout.numberOf(service, site) + 1] & FULL) !== 0;
  }

  siteWasUp(service: string, site: string): boolean {
    return (this.#words[this.#layout.numberOf(service, site) + 1] & WAS_UP) !== 0;
  }
}
