/**
 * From a map's element as one version of the programs has it to the same as another version has it: fields are matched by
 * their names, elements of a counting array by the names of their enum. Pure; both descriptions come from BTF.
 *
 * A field that only the new version has becomes zero, which must mean "as before this field was there". One that only the old
 * version has is dropped. Fields that moved, widened or changed their byte order are converted; one that became narrower is
 * refused where its value does not fit. Padding (fields named `zero`, `zero_...`) is no content.
 */
import type { Btf, Type } from './btf.ts';

/** Arrays that are indexed by an enum. */
const INDEXED: Readonly<Record<string, string>> = {
  'counters.outcome': 'outcome',
  'counters.event': 'event',
  'agent_counters.outcome': 'agent_outcome',
};

/** Fields whose values are an enum's. */
const VALUED: Readonly<Record<string, string>> = {
  'service.forwarding': 'forwarding',
  'service.scheduler': 'scheduler',
  'backend.forwarding': 'forwarding',
};

/** A number in the element. */
interface Leaf {
  readonly path: string;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly bigEndian: boolean;
  /** Its values are this enum's; null: a plain number. */
  readonly enumName: string | null;
}

interface Step {
  readonly path: string;
  readonly from: Leaf;
  readonly to: Leaf;
  /** New values by old ones; undefined: the number stays. */
  readonly values: ReadonlyMap<number, number> | null;
}

/** A value that the new version has no place for. */
export class Unconvertible extends Error {
  override readonly name = 'Unconvertible';
}

/** Entries by value, without the one that only counts them. */
function namesOf(btf: Btf, enumName: string): Map<number, string> {
  const entries = [...(btf.enums.get(enumName) ?? [])].filter(([name]) => !name.endsWith('_COUNT'));
  return new Map(entries.map(([name, value]) => [value, name]));
}

function collectLeaves(btf: Btf, root: Type): Leaf[] {
  const leaves: Leaf[] = [];
  const visit = (type: Type, path: string, owner: string, offset: number): void => {
    if (type.kind === 'scalar') {
      const { sizeBytes, bigEndian } = type;
      leaves.push({ path, offset, sizeBytes, bigEndian, enumName: VALUED[owner] ?? null });
    } else if (type.kind === 'array') {
      const names = INDEXED[owner] === undefined ? null : namesOf(btf, INDEXED[owner]);
      const step = type.element.kind === 'other' || type.length === 0 ? 0 : sizeOf(type.element);
      for (let i = 0; i < type.length; i++) {
        visit(type.element, `${path}[${names?.get(i) ?? i}]`, owner, offset + i * step);
      }
    } else if (type.kind === 'struct') {
      for (const field of type.fields) {
        if (/^zero(_|$)/.test(field.name)) continue;
        const inner = path === '' ? field.name : `${path}.${field.name}`;
        visit(field.type, inner, `${type.name}.${field.name}`, offset + field.offsetBits / 8);
      }
    }
  };
  visit(root, '', '', 0);
  return leaves;
}

function sizeOf(type: Type): number {
  if (type.kind === 'array') return type.length * sizeOf(type.element);
  return type.kind === 'other' ? 0 : type.sizeBytes;
}

/** New values of an enum by its old ones; null: every entry of the old has its value in the new too. */
function translate(from: Btf, to: Btf, enumName: string): ReadonlyMap<number, number> | null {
  const target = new Map([...namesOf(to, enumName)].map(([value, name]) => [name, value]));
  const values = new Map<number, number>();
  let same = true;
  for (const [value, name] of namesOf(from, enumName)) {
    const found = target.get(name);
    if (found !== undefined) values.set(value, found);
    same &&= found === value;
  }
  return same ? null : values;
}

function read(view: DataView, leaf: Leaf): bigint {
  const little = !leaf.bigEndian;
  if (leaf.sizeBytes === 8) return view.getBigUint64(leaf.offset, little);
  if (leaf.sizeBytes === 4) return BigInt(view.getUint32(leaf.offset, little));
  return BigInt(leaf.sizeBytes === 2 ? view.getUint16(leaf.offset, little) : view.getUint8(leaf.offset));
}

function write(view: DataView, leaf: Leaf, value: bigint): void {
  const little = !leaf.bigEndian;
  if (leaf.sizeBytes === 8) view.setBigUint64(leaf.offset, value, little);
  else if (leaf.sizeBytes === 4) view.setUint32(leaf.offset, Number(value), little);
  else if (leaf.sizeBytes === 2) view.setUint16(leaf.offset, Number(value), little);
  else view.setUint8(leaf.offset, Number(value));
}

export class Conversion {
  /** Both versions have the same fields in the same places with the same meaning: nothing needs to be converted. */
  readonly isSame: boolean;
  /** Fields that only the new version has, or only the old one. */
  readonly added: readonly string[];
  readonly dropped: readonly string[];
  readonly #steps: readonly Step[];

  constructor(from: { readonly btf: Btf; readonly type: Type }, to: { readonly btf: Btf; readonly type: Type }) {
    const old = collectLeaves(from.btf, from.type);
    const target = collectLeaves(to.btf, to.type);
    const byPath = new Map(old.map((leaf) => [leaf.path, leaf]));
    const steps: Step[] = [];
    for (const leaf of target) {
      const source = byPath.get(leaf.path);
      if (source === undefined) continue;
      const values = leaf.enumName === null ? null : translate(from.btf, to.btf, leaf.enumName);
      steps.push({ path: leaf.path, from: source, to: leaf, values });
    }
    const has = (leaves: readonly Leaf[], path: string) => leaves.some((leaf) => leaf.path === path);
    this.added = target.filter(({ path }) => !byPath.has(path)).map(({ path }) => path);
    this.dropped = old.filter(({ path }) => !has(target, path)).map(({ path }) => path);
    this.isSame =
      sizeOf(from.type) === sizeOf(to.type) &&
      this.added.length + this.dropped.length === 0 &&
      steps.every(({ from: a, to: b, values }) => {
        return a.offset === b.offset && a.sizeBytes === b.sizeBytes && a.bigEndian === b.bigEndian && values === null;
      });
    this.#steps = steps;
  }

  /** Writes into `target`, whose other bytes stay. Throws `Unconvertible`. About 10 us for 64 bytes of addresses. */
  convert(source: DataView, target: DataView): void {
    for (const { path, from, to, values } of this.#steps) {
      let value = read(source, from);
      if (values !== null) {
        const found = values.get(Number(value));
        if (found === undefined) throw new Unconvertible(`${path} is ${value}, which this version does not know`);
        value = BigInt(found);
      }
      if (to.sizeBytes < from.sizeBytes && value >> BigInt(8 * to.sizeBytes) !== 0n) {
        throw new Unconvertible(`${path} is ${value}, which needs more than the ${to.sizeBytes} bytes of this version`);
      }
      write(target, to, value);
    }
  }

  /** As `convert`, but adds to what stands in `target`: for counters, whose numbers all have 64 bits. */
  add(source: DataView, target: DataView): void {
    for (const { from, to } of this.#steps)
      write(target, to, BigInt.asUintN(64, read(target, to) + read(source, from)));
  }
}
