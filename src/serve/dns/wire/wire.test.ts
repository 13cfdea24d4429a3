import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeMessage, encodeMessage, encodeQuery, type Message, type ResourceRecord } from './message.ts';
import { formatName, MAX_NAME_BYTES, type Name, parseName, ROOT_NAME, readName, sameName } from './name.ts';
import { RECORD_TYPE } from './numbers.ts';
import { createQuery, decodeQuery, read16 } from './query.ts';
import { readRecordData } from './record-data.ts';
import { MessageWriter } from './writer.ts';

function name(text: string): Name {
  const parsed = parseName(text, ROOT_NAME);
  assert.ok(parsed.ok);
  return parsed.name;
}

/** Names of any bytes, from few labels so that compression has work. */
const labels = fc.oneof(
  fc.constantFrom([97], [65], [119, 119, 119], [46], [0], [0xc0, 0xff]),
  fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 63 }),
);
const names = fc.array(labels, { maxLength: 6 }).map((list): Name => {
  const bytes: number[] = [];
  for (const label of list) if (bytes.length + label.length + 2 <= MAX_NAME_BYTES) bytes.push(label.length, ...label);
  return Uint8Array.from([...bytes, 0]);
});

/** Record data of any type with a layout, made by reading random bytes until they fit. */
const records = fc
  .record({
    owner: names,
    target: names,
    type: fc.constantFrom(...Object.values(RECORD_TYPE), 65280),
    class: fc.integer({ min: 0, max: 65535 }),
    ttlSeconds: fc.integer({ min: 0, max: 0xffffffff }),
    bytes: fc.uint8Array({ maxLength: 40 }),
  })
  .map(({ owner, target, type, class: recordClass, ttlSeconds, bytes }): ResourceRecord => {
    const candidates = [
      target,
      Uint8Array.of(1, 2, ...target),
      Uint8Array.of(1, 2, 3, 4, 5, 6, ...target),
      Uint8Array.of(...target, ...owner, ...bytes.subarray(0, 20)),
      bytes,
      bytes.subarray(0, 4),
      bytes.subarray(0, 16),
      Uint8Array.of(bytes.length, ...bytes),
    ];
    for (const candidate of candidates) {
      const read = readRecordData(type, candidate, 0, candidate.length, false);
      if (read.ok) return { owner, type, class: recordClass, ttlSeconds, data: read.data };
    }
    return { owner, type: 65281, class: recordClass, ttlSeconds, data: { bytes, names: [] } };
  });

const messages = fc.record({
  id: fc.integer({ min: 0, max: 65535 }),
  flags: fc.integer({ min: 0, max: 65535 }),
  questions: fc.array(
    fc.record({ name: names, type: fc.integer({ min: 0, max: 65535 }), class: fc.integer({ min: 0, max: 65535 }) }),
    { maxLength: 3 },
  ),
  answers: fc.array(records, { maxLength: 6 }),
  authorities: fc.array(records, { maxLength: 3 }),
  additionals: fc.array(records, { maxLength: 3 }),
});

/** Compression may borrow another case of a letter (RFC 1035 4.1.4 compares without case). */
function lowerCase(message: Message): unknown {
  const lower = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1').toLowerCase();
  const section = (list: readonly ResourceRecord[]) =>
    list.map((record) => [lower(record.owner), record.type, record.class, record.ttlSeconds, lower(record.data.bytes)]);
  return [
    message.id,
    message.flags,
    message.questions.map((question) => [lower(question.name), question.type, question.class]),
    section(message.answers),
    section(message.authorities),
    section(message.additionals),
  ];
}

test('a message that was encoded decodes to itself', () => {
  fc.assert(
    fc.property(messages, (message) => {
      const bytes = encodeMessage(message);
      assert.ok(bytes !== null);
      const decoded = decodeMessage(bytes);
      assert.ok(decoded.ok, JSON.stringify(decoded));
      assert.deepEqual(lowerCase(decoded.message), lowerCase(message));
    }),
    { numRuns: 500 },
  );
});

test('a message that does not fit is not encoded, one that just fits is', () => {
  fc.assert(
    fc.property(messages, (message) => {
      const bytes = encodeMessage(message);
      assert.ok(bytes !== null);
      assert.equal(encodeMessage(message, bytes.length)?.length, bytes.length);
      assert.equal(encodeMessage(message, bytes.length - 1), null);
    }),
    { numRuns: 200 },
  );
});

test('a record that does not fit leaves nothing that later names could point to', () => {
  const writer = new MessageWriter();
  const buffer = new Uint8Array(64);
  writer.begin(buffer, 64);
  const small = { bytes: Uint8Array.of(1, 2, 3, 4), names: [] };
  const large = { bytes: new Uint8Array(60), names: [] };
  assert.ok(writer.writeRecord(name('a.test.'), 1, 1, 0, small));
  const before = writer.position;
  assert.equal(writer.writeRecord(name('later.name.'), 65280, 1, 0, large), false);
  assert.equal(writer.position, before);
  assert.ok(writer.writeRecord(name('other.name.'), 1, 1, 0, small));
  const owner = readName(buffer, before, writer.position);
  assert.ok(owner.ok && formatName(owner.name) === 'other.name');
});

test('no bytes make the decoders throw, and a refusal names a reason and an offset', () => {
  const query = createQuery();
  const check = (bytes: Uint8Array) => {
    const decoded = decodeMessage(bytes);
    if (!decoded.ok) assert.ok(decoded.reason !== '' && decoded.offset >= 0 && decoded.offset <= bytes.length);
    const read = bytes.length >= 12 ? decodeQuery(bytes, bytes.length, query) : null;
    if (read !== null && !read.ok) assert.ok(read.reason !== '' && read.offset >= 0 && read.offset <= bytes.length);
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), check), { numRuns: 2000 });
  // Mutations of well-formed messages go deeper than noise does.
  const mutations = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(messages, mutations, fc.nat(), (message, changes, cut) => {
      const bytes = encodeMessage(message);
      assert.ok(bytes !== null);
      for (const [place, value] of changes) bytes[place % bytes.length] = value;
      check(bytes);
      check(bytes.subarray(0, cut % bytes.length));
    }),
    { numRuns: 2000 },
  );
});

test('a name in text reads back to the same bytes', () => {
  fc.assert(
    fc.property(names, (wire) => {
      const text = formatName(wire);
      const parsed = parseName(text === '.' ? text : `${text}.`, name('origin.test.'));
      assert.ok(parsed.ok);
      assert.deepEqual(parsed.name, wire);
    }),
  );
});

test('names in text follow RFC 1035 5.1', () => {
  const origin = name('example.test.');
  const parse = (text: string) => {
    const parsed = parseName(text, origin);
    return parsed.ok ? formatName(parsed.name) : parsed.reason;
  };
  assert.equal(parse('@'), 'example.test');
  assert.equal(parse('www'), 'www.example.test');
  assert.equal(parse('www.'), 'www');
  assert.equal(parse('.'), '.');
  assert.equal(parse('a\\.b.c.'), 'a\\.b.c');
  assert.equal(parse('\\097\\000.'), 'a\\000');
  assert.match(parse('a..b'), /label of the name is empty/);
  assert.match(parse('.a'), /label of the name is empty/);
  assert.match(parse(''), /empty/);
  assert.match(parse('a\\256'), /more than a byte/);
  assert.match(parse('a\\'), /backslash/);
  assert.match(parse('a\\12x'), /backslash/);
  assert.match(parse('bücher'), /not printable ASCII/);
  assert.match(parse('x'.repeat(64)), /at most 63/);
  assert.match(parse(`${'x.'.repeat(127)}x`), /at most 255/);
  assert.ok(parseName('x.'.repeat(127), ROOT_NAME).ok);
});

test('compression pointers that loop or lead forward are refused', () => {
  const read = (...bytes: number[]) => readName(Uint8Array.from(bytes), 2, bytes.length);
  assert.ok(read(1, 97, 0xc0, 0).ok === false);
  const loop = read(0, 0, 0xc0, 2);
  assert.ok(!loop.ok && /backwards/.test(loop.reason));
  const forward = read(0, 0, 0xc0, 4, 0);
  assert.ok(!forward.ok && /backwards/.test(forward.reason));
  const intoItself = readName(Uint8Array.of(1, 97, 1, 98, 0xc0, 2), 0, 6);
  assert.ok(!intoItself.ok && /backwards/.test(intoItself.reason));
  const backwards = readName(Uint8Array.of(1, 97, 0, 1, 98, 0xc0, 0), 3, 7);
  assert.ok(backwards.ok && backwards.next === 7 && formatName(backwards.name) === 'b.a');
});

test('names compare without letter case, and only letters', () => {
  assert.ok(sameName(name('WWW.Example.'), name('www.eXAMPLE.')));
  assert.ok(!sameName(name('[.'), name('{.')));
});

/** A client subnet option: code 8, length, data. */
function subnetOption(...data: number[]): Uint8Array {
  return Uint8Array.of(0, 8, 0, data.length, ...data);
}

function decodeWithOptions(options: Uint8Array) {
  const question = { name: name('www.example.test.'), type: 1, class: 1 };
  const bytes = encodeQuery(1, question, { payloadBytes: 1400, flags: 0x8000, options });
  const query = createQuery();
  return { bytes, query, result: decodeQuery(bytes, bytes.length, query) };
}

test('the question and EDNS of a query are read', () => {
  const { query, result, bytes } = decodeWithOptions(Uint8Array.of(0, 3, 0, 0, 0xff, 0xff, 0, 2, 9, 9));
  assert.ok(result.ok);
  assert.equal(query.type, 1);
  assert.equal(query.labelCount, 3);
  assert.equal(query.payloadBytes, 1400);
  assert.ok(query.isDnssecOk && query.wantsServerId && query.hasEdns && !query.hasSubnet);
  assert.equal(read16(bytes, query.questionEnd - 4), 1);
});

test('a client subnet is read only if it is exactly as RFC 7871 says', () => {
  const good = decodeWithOptions(subnetOption(0, 1, 20, 0, 192, 0, 0x20));
  assert.ok(good.result.ok && good.query.hasSubnet);
  assert.equal(good.query.subnetFamily, 4);
  assert.equal(good.query.subnetSourceLength, 20);
  assert.ok(decodeWithOptions(subnetOption(0, 2, 0, 0)).result.ok);
  assert.ok(decodeWithOptions(subnetOption(0, 0, 0, 0)).result.ok);
  const malformed: [string, Uint8Array][] = [
    ['scope in the query', subnetOption(0, 1, 24, 24, 192, 0, 2)],
    ['bits beyond the source', subnetOption(0, 1, 20, 0, 192, 0, 0x21)],
    ['address too long', subnetOption(0, 1, 24, 0, 192, 0, 2, 0)],
    ['address too short', subnetOption(0, 1, 24, 0, 192, 0)],
    ['family unknown', subnetOption(0, 3, 0, 0)],
    ['family 0 with a source', subnetOption(0, 0, 8, 0, 10)],
    ['source over 32', subnetOption(0, 1, 33, 0, 1, 2, 3, 4, 0)],
    ['cut off', subnetOption(0, 1, 0)],
    ['twice', Uint8Array.of(...subnetOption(0, 1, 0, 0), ...subnetOption(0, 1, 0, 0))],
  ];
  for (const [what, option] of malformed) {
    const { result, query } = decodeWithOptions(option);
    assert.ok(!result.ok && query.isSubnetMalformed && query.hasEdns, what);
  }
});
