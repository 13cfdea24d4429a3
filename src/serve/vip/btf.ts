/**
 * Reads the BTF (BPF Type Format) of a compiled object: which structs its maps have for keys and values, and where their
 * fields lie. ELF: System V ABI, 64-bit little-endian; BTF: Documentation/bpf/btf.rst of the kernel, version 1.
 * The objects are our own compiler's output, so what does not fit throws.
 */

const KIND_INT = 1;
const KIND_PTR = 2;
const KIND_ARRAY = 3;
const KIND_STRUCT = 4;
const KIND_UNION = 5;
const KIND_ENUM = 6;
const KIND_TYPEDEF = 8;
const KIND_VOLATILE = 9;
const KIND_CONST = 10;
const KIND_RESTRICT = 11;
const KIND_FUNC_PROTO = 13;
const KIND_VAR = 14;
const KIND_DATASEC = 15;
const KIND_DECL_TAG = 17;
const KIND_TYPE_TAG = 18;
const KIND_ENUM64 = 19;

/** Bytes that follow the 12 of each type, by kind: fixed ones, and one for each of its `vlen` parts. */
const FIXED_BYTES: Record<number, number> = { [KIND_INT]: 4, [KIND_ARRAY]: 12, [KIND_VAR]: 4, [KIND_DECL_TAG]: 4 };
const PART_BYTES: Record<number, number> = {
  [KIND_STRUCT]: 12,
  [KIND_UNION]: 12,
  [KIND_ENUM]: 8,
  [KIND_FUNC_PROTO]: 8,
  [KIND_DATASEC]: 12,
  [KIND_ENUM64]: 12,
};
const TRANSPARENT = [KIND_TYPEDEF, KIND_VOLATILE, KIND_CONST, KIND_RESTRICT, KIND_TYPE_TAG];

interface RawType {
  readonly kind: number;
  readonly name: string;
  /** Structs and unions: some member may be a bit-field. */
  readonly flag: boolean;
  readonly vlen: number;
  /** Size in bytes, or the type that this one refers to. */
  readonly sizeOrType: number;
  /** Where what follows the 12 common bytes begins. */
  readonly offset: number;
}

/** A whole number; `bigEndian` when its typedef is `__be16`, `__be32` or `__be64`. */
export interface ScalarType {
  readonly kind: 'scalar';
  readonly sizeBytes: number;
  readonly bigEndian: boolean;
}

export interface StructType {
  readonly kind: 'struct' | 'union';
  readonly name: string;
  readonly sizeBytes: number;
  readonly fields: readonly Field[];
}

export interface ArrayType {
  readonly kind: 'array';
  readonly element: Type;
  readonly length: number;
}

export interface OtherType {
  readonly kind: 'other';
}

export type Type = ScalarType | StructType | ArrayType | OtherType;

export interface Field {
  readonly name: string;
  readonly offsetBits: number;
  /** 0: no bit-field. */
  readonly bitFieldBits: number;
  readonly type: Type;
}

/** Size in bytes of a type that can stand in memory; 0 for those that we do not follow. */
export function typeSizeBytes(type: Type): number {
  if (type.kind === 'array') return type.length * typeSizeBytes(type.element);
  return type.kind === 'other' ? 0 : type.sizeBytes;
}

/** The `.BTF` section of a 64-bit little-endian ELF file. */
export function findBtfSection(file: Uint8Array): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  if (file.length < 64 || view.getUint32(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) {
    throw new Error('not a 64-bit little-endian ELF file');
  }
  const headers = Number(view.getBigUint64(40, true));
  const headerBytes = view.getUint16(58, true);
  const count = view.getUint16(60, true);
  const section = (index: number) => {
    const at = headers + index * headerBytes;
    return {
      name: view.getUint32(at, true),
      offset: Number(view.getBigUint64(at + 24, true)),
      sizeBytes: Number(view.getBigUint64(at + 32, true)),
    };
  };
  const names = section(view.getUint16(62, true));
  for (let i = 0; i < count; i++) {
    const { name, offset, sizeBytes } = section(i);
    if (readString(file, names.offset + name) === '.BTF') return file.subarray(offset, offset + sizeBytes);
  }
  throw new Error('no .BTF section: compile with -g');
}

function readString(bytes: Uint8Array, start: number): string {
  return Buffer.from(bytes.subarray(start, bytes.indexOf(0, start))).toString('latin1');
}

function readTypes(section: Uint8Array, view: DataView): RawType[] {
  const headerBytes = view.getUint32(4, true);
  const typesStart = headerBytes + view.getUint32(8, true);
  const typesEnd = typesStart + view.getUint32(12, true);
  const strings = headerBytes + view.getUint32(16, true);
  // Type 0 is void and is not stored.
  const types: RawType[] = [{ kind: 0, name: 'void', flag: false, vlen: 0, sizeOrType: 0, offset: 0 }];
  for (let at = typesStart; at < typesEnd; ) {
    const info = view.getUint32(at + 4, true);
    const type = {
      kind: (info >>> 24) & 0x1f,
      name: readString(section, strings + view.getUint32(at, true)),
      flag: info >>> 31 === 1,
      vlen: info & 0xffff,
      sizeOrType: view.getUint32(at + 8, true),
      offset: at + 12,
    };
    types.push(type);
    at = type.offset + (FIXED_BYTES[type.kind] ?? 0) + (PART_BYTES[type.kind] ?? 0) * type.vlen;
  }
  return types;
}

/** A section of data: which variable stands where. */
export interface Variable {
  readonly name: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface MapTypes {
  readonly name: string;
  /** Null: the map has no typed key (or value), as a program array. */
  readonly key: Type | null;
  /** Of a map of maps: the value type of the inner maps. */
  readonly value: Type | null;
}

export interface Btf {
  readonly maps: readonly MapTypes[];
  /** Structs by name, those too that are no map's key or value. */
  readonly structs: ReadonlyMap<string, StructType>;
  /** Named enums: values by entry. */
  readonly enums: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** Variables by section (`.rodata`, `.data`, `.bss`). */
  readonly sections: ReadonlyMap<string, readonly Variable[]>;
}

interface Member {
  readonly name: string;
  readonly type: number;
  readonly offsetBits: number;
  readonly bitFieldBits: number;
}

/** A `.BTF` section, its types by their numbers. */
class BtfSection {
  readonly types: readonly RawType[];
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (this.#view.getUint16(0, true) !== 0xeb9f) throw new Error('the .BTF section does not begin as BTF');
    this.types = readTypes(bytes, this.#view);
  }

  #word(at: number): number {
    return this.#view.getUint32(at, true);
  }

  #nameAt(at: number): string {
    const strings = this.#word(4) + this.#word(16);
    return readString(this.#bytes, strings + this.#word(at));
  }

  /** The type behind typedefs and qualifiers. */
  #strip(id: number): RawType {
    let type = this.types[id];
    while (TRANSPARENT.includes(type.kind)) type = this.types[type.sizeOrType];
    return type;
  }

  #isBigEndian(id: number): boolean {
    for (let type = this.types[id]; TRANSPARENT.includes(type.kind); type = this.types[type.sizeOrType]) {
      if (/^__be(16|32|64)$/.test(type.name)) return true;
    }
    return false;
  }

  #members(type: RawType): Member[] {
    return Array.from({ length: type.vlen }, (_, i) => {
      const at = type.offset + 12 * i;
      const place = this.#word(at + 8);
      // With the flag set the upper byte is the width of a bit-field, else all 32 bits are the offset.
      return {
        name: this.#nameAt(at),
        type: this.#word(at + 4),
        offsetBits: type.flag ? place & 0xffffff : place,
        bitFieldBits: type.flag ? place >>> 24 : 0,
      };
    });
  }

  resolve(id: number): Type {
    const type = this.#strip(id);
    switch (type.kind) {
      case KIND_INT:
      case KIND_ENUM:
      case KIND_ENUM64:
        return { kind: 'scalar', sizeBytes: type.sizeOrType, bigEndian: this.#isBigEndian(id) };
      case KIND_ARRAY:
        return {
          kind: 'array',
          element: this.resolve(this.#word(type.offset)),
          length: this.#word(type.offset + 8),
        };
      case KIND_STRUCT:
      case KIND_UNION:
        return {
          kind: type.kind === KIND_STRUCT ? 'struct' : 'union',
          name: type.name,
          sizeBytes: type.sizeOrType,
          fields: this.#members(type).map((member) => ({ ...member, type: this.resolve(member.type) })),
        };
      default:
        return { kind: 'other' }; // pointers, functions: not in shared structs
    }
  }

  /** Values of a 32-bit enum by the names of its entries. */
  enumEntries(type: RawType): ReadonlyMap<string, number> {
    const entries = Array.from({ length: type.vlen }, (_, i): [string, number] => {
      const at = type.offset + 8 * i;
      return [this.#nameAt(at), this.#view.getInt32(at + 4, true)];
    });
    return new Map(entries);
  }

  /** A map is declared by a struct of pointers: `key`, `value`, and `values`, an array of pointers to inner maps. */
  mapTypes(name: string, id: number): MapTypes {
    const members = this.#members(this.#strip(id));
    const pointed = (memberName: string): number | null => {
      const member = members.find((candidate) => candidate.name === memberName);
      if (member === undefined) return null;
      let target = this.#strip(member.type);
      if (target.kind === KIND_ARRAY) target = this.#strip(this.#word(target.offset));
      return target.kind === KIND_PTR ? target.sizeOrType : null;
    };
    const inner = pointed('values');
    if (inner !== null && this.#strip(inner).kind === KIND_STRUCT) return this.mapTypes(name, inner);
    const [key, value] = [pointed('key'), pointed('value')];
    const resolve = (target: number | null) => (target === null ? null : this.resolve(target));
    return { name, key: resolve(key), value: resolve(value) };
  }

  /** Variables of a section of data, each with its type's number. */
  variables(section: RawType): (Variable & { readonly type: number })[] {
    return Array.from({ length: section.vlen }, (_, i) => {
      const at = section.offset + 12 * i;
      const { name, sizeOrType } = this.types[this.#word(at)];
      return { name, offset: this.#word(at + 4), sizeBytes: this.#word(at + 8), type: sizeOrType };
    });
  }
}

/** Reads the BTF of a whole object file. */
export function readBtf(file: Uint8Array): Btf {
  return readBtfSection(findBtfSection(file));
}

/** Reads BTF as it stands in an object file's section, or as the kernel gives it out. */
export function readBtfSection(section: Uint8Array): Btf {
  const btf = new BtfSection(section);
  const maps: MapTypes[] = [];
  const structs = new Map<string, StructType>();
  const enums = new Map<string, ReadonlyMap<string, number>>();
  const sections = new Map<string, Variable[]>();
  btf.types.forEach((type, id) => {
    if (type.kind === KIND_ENUM && type.name !== '') enums.set(type.name, btf.enumEntries(type));
    if (type.kind === KIND_STRUCT && type.name !== '') structs.set(type.name, btf.resolve(id) as StructType);
    if (type.kind !== KIND_DATASEC) return;
    const variables = btf.variables(type);
    sections.set(type.name, variables);
    if (type.name === '.maps') maps.push(...variables.map((variable) => btf.mapTypes(variable.name, variable.type)));
  });
  return { maps, structs, enums, sections };
}
