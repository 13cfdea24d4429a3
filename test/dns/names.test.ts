/** Names are bytes: any of them, in any letter case, up to the limits of RFC 1035 section 2.3.4, and chains of aliases that end. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { record, testConfig, zone } from '../../src/serve/dns/sample.ts';
import { decodeMessage, encodeQuery, type Message } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { dig, exchange, type RunningServer, startServer } from './fixture.ts';

const TOP = [4, ...Buffer.from('test'), 0];
const LONG_LABEL = 'x'.repeat(63);

const RECORDS = [
  record('*.any.names.test', 'TXT', '"any"'),
  record(`${LONG_LABEL}.names.test`, 'TXT', '"63"'),
  record(`${[61, 61, 61, 56].map((length) => 'y'.repeat(length)).join('.')}.names.test`, 'TXT', '"255"'),
  record('\\000\\255.names.test', 'TXT', '"odd"'),
  record('a.b.c.names.test', 'TXT', '"deep"'),
  ...Array.from({ length: 8 }, (_, i) => record(`c${i}.names.test`, 'CNAME', `c${i + 1}`)),
  record('c8.names.test', 'TXT', '"end of the chain"'),
];

let running: RunningServer;
before(async () => {
  const config = testConfig({ zones: [zone('names.test', RECORDS, ['ns.x.test'])], services: new Map() });
  running = await startServer({ config });
});
after(() => running.server.stop());

/** Asks for TXT; the answer's question is checked to be the query's, byte for byte. */
async function askBytes(name: readonly number[]): Promise<Message> {
  const query = encodeQuery(7, { name: Uint8Array.from(name), type: 16, class: 1 }, null);
  const answer = await exchange(running.port, query);
  assert.ok(answer !== null);
  const end = 12 + name.length + 4;
  assert.deepEqual(answer.subarray(12, end), Buffer.from(query.subarray(12, end)));
  const decoded = decodeMessage(answer);
  assert.ok(decoded.ok);
  return decoded.message;
}

function label(bytes: readonly number[]): number[] {
  return [bytes.length, ...bytes];
}

const NAMES_TEST = [...label([...Buffer.from('names')]), ...TOP];

test('every byte may stand in a label, and comes back as it was sent', async () => {
  for (let first = 0; first < 256; first += 32) {
    const bytes = Array.from({ length: 32 }, (_, i) => first + i);
    const name = [...label(bytes), ...label([...Buffer.from('aNy')]), ...NAMES_TEST];
    const { flags, answers } = await askBytes(name);
    assert.equal(flags & 0xf, 0);
    assert.deepEqual([...(answers[0]?.owner ?? [])], name);
    assert.equal(Buffer.from(answers[0]?.data.bytes ?? []).toString(), '\x03any');
  }
  const odd = await askBytes([...label([0, 255]), ...NAMES_TEST]);
  assert.equal(odd.answers.length, 1);
});

test('only ASCII letters are the same in both cases', async () => {
  // 0xe4 and 0xc4 differ in the bit that tells cases apart, as do "[" and "{".
  const found = async (bytes: readonly number[]) => (await askBytes([...label(bytes), ...NAMES_TEST])).answers.length;
  assert.equal(await found([0, 255]), 1);
  assert.equal(await found([0, 223]), 0);
  assert.equal(await found([32, 255]), 0);
});

test('0x20: each letter of the question comes back in the case in which it was sent', async () => {
  for (const name of ['A.B.c.nAmEs.TeSt', 'a.b.C.NAMES.test', 'C0.NaMeS.tEsT']) {
    const answer = await dig(running.port, `${name} TXT`);
    assert.deepEqual(answer.question, [`;${name}. IN TXT`]);
    assert.ok(answer.answer[0]?.startsWith(`${name}. `), answer.answer[0]);
  }
});

test('labels of 63 bytes and names of 255 are answered, one byte more is FORMERR', async () => {
  assert.equal((await dig(running.port, `${LONG_LABEL}.names.test TXT`)).answer.length, 1);
  const longest = [61, 61, 61, 56].flatMap((length) => label(new Array(length).fill(0x79)));
  const name = [...longest, ...NAMES_TEST];
  assert.equal(name.length, 255);
  assert.equal((await askBytes(name)).answers.length, 1);
  const manyLabels = [...new Array(127).fill([1, 0x61]).flat(), 0];
  assert.equal(manyLabels.length, 255);
  assert.equal((await askBytes(manyLabels)).flags & 0xf, 5, 'REFUSED: well formed, and not ours');
  const raw = async (bytes: readonly number[]) => {
    const head = [0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const answer = await exchange(running.port, Uint8Array.of(...head, ...bytes, 0, 16, 0, 1));
    assert.ok(answer !== null);
    return (answer[3] ?? 0) & 0xf;
  };
  assert.equal(await raw(name), 0);
  assert.equal(await raw([2, 0x61, 0x61, ...manyLabels.slice(2)]), 1, '256 bytes');
  assert.equal(await raw([64, ...new Array(64).fill(0x61), 0]), 1, 'a label of 64 bytes');
  assert.equal(await raw([0xc0, 0x0c]), 1, 'a pointer to itself');
  assert.equal(await raw([1, 0x61, 0xc0, 0x0c]), 1, 'a pointer into the name');
});

test('the longest names below a wildcard get its records', async () => {
  const room = 255 - NAMES_TEST.length - 4;
  const labels = [63, 63, 63, room - 3 * 64 - 1].flatMap((length) => label(new Array(length).fill(0x7a)));
  const name = [...labels, ...label([...Buffer.from('any')]), ...NAMES_TEST];
  assert.equal(name.length, 255);
  assert.equal((await askBytes(name)).answers.length, 1);
});

test('the root and the zone’s parent are refused, names on the way to others exist', async () => {
  assert.equal((await askBytes([0])).flags & 0xf, 5);
  assert.equal((await dig(running.port, 'test TXT')).status, 'REFUSED');
  for (const name of ['b.c.names.test', 'c.names.test', 'any.names.test']) {
    const answer = await dig(running.port, `${name} TXT`);
    assert.equal(answer.status, 'NOERROR', name);
    assert.deepEqual(answer.answer, []);
    assert.match(answer.authority[0] ?? '', / SOA /);
  }
  for (const name of ['x.c.names.test', 'x.a.b.c.names.test']) {
    assert.equal((await dig(running.port, `${name} TXT`)).status, 'NXDOMAIN', name);
  }
});

test('a chain of eight aliases is followed to its end', async () => {
  const { answer, status } = await dig(running.port, 'c0.names.test TXT +tcp');
  assert.equal(status, 'NOERROR');
  assert.equal(answer.length, 9);
  assert.equal(answer[8], 'c8.names.test. 3600 IN TXT "end of the chain"');
  const parsed = parseName('c0.names.test.', ROOT_NAME);
  assert.ok(parsed.ok);
  assert.equal((await askBytes([...parsed.name])).answers.length, 9);
});
