/** How busy links are, by the counters of the interfaces that they are behind. */

/** Since the interface was made. */
export interface InterfaceBytes {
  readonly received: number;
  readonly sent: number;
}

interface Reading extends InterfaceBytes {
  readonly atMs: number;
}

/** Remembers the last reading of each link. */
export class LinkLoads {
  readonly #last = new Map<string, Reading>();

  /**
   * Bits a second since the last call for this link, of the busier direction, summed over its interfaces. NaN: not known - an interface
   * is not there (null), it is the first reading, or an interface was made anew, so that its counters went back.
   */
  load(link: string, interfaces: readonly (InterfaceBytes | null)[], nowMs: number): number {
    let [received, sent] = [0, 0];
    for (const counters of interfaces) {
      if (counters === null) {
        this.#last.delete(link);
        return Number.NaN;
      }
      received += counters.received;
      sent += counters.sent;
    }
    const last = this.#last.get(link);
    this.#last.set(link, { received, sent, atMs: nowMs });
    if (interfaces.length === 0 || last === undefined || nowMs <= last.atMs) return Number.NaN;
    if (received < last.received || sent < last.sent) return Number.NaN;
    return (Math.max(received - last.received, sent - last.sent) * 8000) / (nowMs - last.atMs);
  }

  /** Forgets all links but these. */
  keep(links: ReadonlySet<string>): void {
    for (const link of this.#last.keys()) if (!links.has(link)) this.#last.delete(link);
  }
}
