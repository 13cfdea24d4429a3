/** What asking prefixes are answered with now, by what name servers counted: where a group was before steering had an opinion. */
import type { QueryRows } from './measured.ts';
import { NO_PREFIX, NO_SITE } from './measured.ts';

export class ObservedAnswers {
  readonly #classes: number;
  readonly #most: number;
  /** [asking prefix * classes + class]; NO_SITE: never asked. */
  site = new Uint16Array(0);

  /** `most`: prefixes; those with higher numbers are not noted. */
  constructor(classes: number, most: number) {
    this.#classes = classes;
    this.#most = most;
  }

  /** Cost: some 10 ns a row. */
  observe(rows: QueryRows, classOf: readonly number[]): void {
    for (let row = 0; row < rows.length; row++) {
      const asker = rows.subnet[row] === NO_PREFIX ? rows.resolver[row] : rows.subnet[row];
      const c = classOf[rows.service[row]];
      if (asker >= this.#most || c === undefined) continue;
      const at = asker * this.#classes + c;
      if (at >= this.site.length) this.#makeRoom(at + 1);
      this.site[at] = rows.site[row];
    }
  }

  /** Takes up what another kept, of so many classes. */
  load(site: Uint16Array, classes: number): void {
    for (let at = 0; at < site.length; at++) {
      const c = at % classes;
      const asker = (at - c) / classes;
      if (c >= this.#classes || asker >= this.#most || site[at] === NO_SITE) continue;
      const to = asker * this.#classes + c;
      if (to >= this.site.length) this.#makeRoom(to + 1);
      this.site[to] = site[at];
    }
  }

  siteOf(asker: number, c: number): number {
    const at = asker * this.#classes + c;
    return at < this.site.length ? this.site[at] : NO_SITE;
  }

  #makeRoom(length: number): void {
    const next = new Uint16Array(Math.max(length, 2 * this.site.length, 1024)).fill(NO_SITE);
    next.set(this.site);
    this.site = next;
  }
}
