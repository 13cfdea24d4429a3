/** The record sets of a name, by type. Most names have one or two, so a list takes a fifth of a Map's memory and is as fast. */
export class SetList<S extends { readonly type: number }> {
  #sets: readonly S[] = [];

  get size(): number {
    return this.#sets.length;
  }

  get(type: number): S | undefined {
    const sets = this.#sets;
    for (let i = 0; i < sets.length; i++) if (sets[i].type === type) return sets[i];
    return undefined;
  }

  has(type: number): boolean {
    return this.get(type) !== undefined;
  }

  /** Adds a set of a type that is not there yet. A new array: one that is pushed to would keep room for 16 more. */
  add(set: S): void {
    this.#sets = [...this.#sets, set];
  }

  keys(): number[] {
    return this.#sets.map(({ type }) => type);
  }

  /** In the order in which they were added. */
  values(): readonly S[] {
    return this.#sets;
  }
}

export type ReadonlySetList<S extends { readonly type: number }> = Pick<
  SetList<S>,
  'size' | 'get' | 'has' | 'keys' | 'values'
>;
