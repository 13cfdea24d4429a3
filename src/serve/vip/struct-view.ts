/**
 * A cursor over structs in memory, mapped from the kernel or not: the base of the generated classes in `layout.gen.ts`.
 * Reading and writing a field allocates nothing (a 64-bit value is a BigInt). Little-endian, as all machines that we run on.
 */
export class StructView {
  /** All of the memory, twice; the names must not be those of fields (`RESERVED_FIELDS` of the generator). */
  readonly view: DataView;
  readonly memory: Uint8Array;
  /** From one struct to the next: the kernel rounds array values up to 8 bytes. */
  readonly strideBytes: number;
  /** Where the struct begins that the fields are read from. */
  start = 0;

  constructor(buffer: ArrayBuffer, sizeBytes: number) {
    this.view = new DataView(buffer);
    this.memory = new Uint8Array(buffer);
    this.strideBytes = Math.ceil(sizeBytes / 8) * 8;
  }

  /** Moves to element `index` of an array. Beyond the memory, fields throw a RangeError. */
  at(index: number): this {
    this.start = index * this.strideBytes;
    return this;
  }
}
