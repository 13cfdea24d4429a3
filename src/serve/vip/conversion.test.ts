import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Btf, Field, StructType, Type } from './btf.ts';
import { Conversion, Unconvertible } from './conversion.ts';

const number = (sizeBytes: number, bigEndian = false): Type => ({ kind: 'scalar', sizeBytes, bigEndian });

/** A struct whose fields follow each other. */
function struct(name: string, fields: readonly (readonly [string, Type])[]): StructType {
  let end = 0;
  const placed = fields.map(([fieldName, type]): Field => {
    const offsetBits = end * 8;
    end += type.kind === 'array' ? type.length * 8 : type.kind === 'other' ? 0 : type.sizeBytes;
    return { name: fieldName, type, offsetBits, bitFieldBits: 0 };
  });
  return { kind: 'struct', name, sizeBytes: end, fields: placed };
}

function btf(enums: Record<string, readonly string[]> = {}): Btf {
  const entries = Object.entries(enums).map(([name, names]): [string, Map<string, number>] => [
    name,
    new Map(names.map((entry, value) => [entry, value])),
  ]);
  return { maps: [], structs: new Map(), enums: new Map(entries), sections: new Map() };
}

function convert(conversion: Conversion, from: readonly number[], sizeBytes: number): number[] {
  const target = new Uint8Array(sizeBytes);
  conversion.convert(new DataView(Uint8Array.from(from).buffer), new DataView(target.buffer));
  return [...target];
}

const between = (from: Type, to: Type, old = btf(), now = btf()) =>
  new Conversion({ btf: old, type: from }, { btf: now, type: to });

describe('conversion', () => {
  test('fields are found by name wherever they lie, new ones are zero, gone ones are dropped', () => {
    const from = struct('thing', [
      ['a', number(2)],
      ['gone', number(2)],
      ['b', number(4)],
    ]);
    const to = struct('thing', [
      ['b', number(4)],
      ['new', number(4)],
      ['a', number(2)],
    ]);
    const conversion = between(from, to);
    assert.equal(conversion.isSame, false);
    assert.deepEqual([conversion.added, conversion.dropped], [['new'], ['gone']]);
    assert.deepEqual(convert(conversion, [1, 2, 9, 9, 3, 4, 5, 6], 10), [3, 4, 5, 6, 0, 0, 0, 0, 1, 2]);
  });

  test('a wider field keeps its value in either byte order', () => {
    const [from, to] = [2, 4].map((bytes) => struct('thing', [['a', number(bytes)]]));
    assert.deepEqual(convert(between(from, to), [1, 2], 4), [1, 2, 0, 0]);
    const wire = struct('thing', [['a', number(4, true)]]);
    assert.deepEqual(convert(between(from, wire), [1, 2], 4), [0, 0, 2, 1]);
  });

  test('a narrower field takes what fits and refuses what does not, with its name', () => {
    const [from, to] = [4, 2].map((bytes) => struct('thing', [['a', number(bytes)]]));
    assert.deepEqual(convert(between(from, to), [1, 2, 0, 0], 2), [1, 2]);
    assert.throws(() => convert(between(from, to), [1, 2, 3, 0], 2), /a is 197121, which needs more than the 2 bytes/);
  });

  test('padding is no content', () => {
    const from = struct('thing', [['zero', number(4)]]);
    const to = struct('thing', [['new', number(4)]]);
    assert.deepEqual(between(from, to).dropped, []);
    assert.deepEqual(convert(between(from, to), [7, 7, 7, 7], 4), [0, 0, 0, 0]);
    assert.equal(between(from, from).isSame, true);
  });

  test('counters follow the names of what they count, and are added', () => {
    const outcomes = (length: number): Type => ({ kind: 'array', element: number(8), length });
    const from = struct('counters', [['outcome', outcomes(2)]]);
    const to = struct('counters', [['outcome', outcomes(3)]]);
    const old = btf({ outcome: ['OUTCOME_A', 'OUTCOME_B', 'OUTCOME_COUNT'] });
    const now = btf({ outcome: ['OUTCOME_NEW', 'OUTCOME_B', 'OUTCOME_A', 'OUTCOME_COUNT'] });
    const source = BigUint64Array.of(5n, 6n);
    const target = BigUint64Array.of(1n, 1n, 1n);
    between(from, to, old, now).add(new DataView(source.buffer), new DataView(target.buffer));
    assert.deepEqual([...target], [1n, 7n, 6n]);
    assert.equal(between(from, from, old, old).isSame, true);
  });

  test('values of enums keep their meaning; one that the new version does not know is refused', () => {
    const service = struct('service', [['scheduler', number(4)]]);
    const old = btf({ scheduler: ['SCHEDULER_HASH', 'SCHEDULER_RANDOM', 'SCHEDULER_TURN'] });
    const now = btf({ scheduler: ['SCHEDULER_RANDOM', 'SCHEDULER_HASH'] });
    const conversion = between(service, service, old, now);
    assert.equal(conversion.isSame, false);
    assert.deepEqual(convert(conversion, [1, 0, 0, 0], 4), [0, 0, 0, 0]);
    assert.throws(() => convert(conversion, [2, 0, 0, 0], 4), Unconvertible);
    const more = btf({ scheduler: ['SCHEDULER_HASH', 'SCHEDULER_RANDOM', 'SCHEDULER_TURN', 'SCHEDULER_LATER'] });
    assert.equal(between(service, service, old, more).isSame, true, 'an enum that has only grown');
  });
});
