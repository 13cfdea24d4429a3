/** What a connection puts on links, and what is on them that is not steered. */
import type { TrafficRows } from '../measured.ts';
import { NO_PREFIX } from '../measured.ts';
import { PATH_LINKS, type SteeringModel } from '../measured-model.ts';

const BITS_MEMORY_MS = 1_800_000;
/** Background goes up at once, and falls with this time constant: room is used only when it lasts. */
const FALL_MEMORY_MS = 600_000;

export class LinkBackground {
  /** [class]: bits by connection. */
  readonly bitsPerConnection: Float64Array;
  /** [link]: bits a second; NaN: never measured. */
  readonly background: Float64Array;
  /** [link]: bits a second that were measured last; NaN: never. */
  readonly measured: Float64Array;
  readonly #model: SteeringModel;

  constructor(model: SteeringModel) {
    this.#model = model;
    this.bitsPerConnection = Float64Array.from(model.classes, ({ bitsPerConnection }) => bitsPerConnection);
    this.background = new Float64Array(model.links.length).fill(Number.NaN);
    this.measured = new Float64Array(model.links.length).fill(Number.NaN);
  }

  /** `paths`: as they are now. Cost: about 30 ns a row. */
  observe(rows: TrafficRows, linkLoad: Float64Array, intervalMs: number, paths: Int32Array): void {
    const { classes, services, sites, regionOf } = this.#model;
    const connections = new Float64Array(classes.length);
    const bits = new Float64Array(classes.length);
    const ours = new Float64Array(linkLoad.length);
    for (let row = 0; row < rows.length; row++) {
      const c = services[rows.service[row]]?.class;
      if (c === undefined) continue;
      connections[c] += rows.connections[row];
      bits[c] += 8 * rows.bytes[row];
      const region = rows.prefix[row] === NO_PREFIX ? -1 : regionOf(rows.prefix[row]);
      const from = (Math.max(0, region) * sites.length + rows.site[row]) * PATH_LINKS;
      // Of users who are not known only the first link, the site's own, is sure.
      const count = region < 0 ? 1 : PATH_LINKS;
      for (let n = 0; n < count; n++) {
        const link = paths[from + n];
        if (link >= 0) ours[link] += (8000 * rows.bytes[row]) / intervalMs;
      }
    }
    const gain = 1 - Math.exp(-intervalMs / BITS_MEMORY_MS);
    for (let c = 0; c < classes.length; c++) {
      if (connections[c] <= 0 || bits[c] <= 0) continue;
      this.bitsPerConnection[c] += gain * (bits[c] / connections[c] - this.bitsPerConnection[c]);
    }
    this.#learn(linkLoad, ours, intervalMs);
  }

  #learn(linkLoad: Float64Array, ours: Float64Array, intervalMs: number): void {
    const fall = 1 - Math.exp(-intervalMs / FALL_MEMORY_MS);
    for (let link = 0; link < linkLoad.length; link++) {
      if (Number.isNaN(linkLoad[link])) continue;
      this.measured[link] = linkLoad[link];
      const other = Math.max(0, linkLoad[link] - ours[link]);
      const before = this.background[link];
      this.background[link] = !(before < other)
        ? other + (Number.isNaN(before) ? 0 : (1 - fall) * (before - other))
        : other;
    }
  }
}
