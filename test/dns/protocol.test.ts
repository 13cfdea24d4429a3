/** EDNS, client subnet and the questions of RFC 8906, which tell servers that break resolvers from those that do not. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { dig, exchange, type RunningServer, startServer } from './fixture.ts';

let running: RunningServer;
before(async () => {
  running = await startServer();
});
after(() => running.server.stop());

const ask = (args: string) => dig(running.port, args);

const WWW = [3, 0x77, 0x77, 0x77, 7, ...Buffer.from('example'), 4, ...Buffer.from('test'), 0, 0, 1, 0, 1];

/** A header with RD set, and what follows. */
function message(
  counts: readonly [number, number, number, number],
  rest: readonly number[],
  flags = 0x0100,
): Uint8Array {
  const [questions, answers, authorities, additionals] = counts;
  return Uint8Array.of(
    0xab,
    0xcd,
    flags >> 8,
    flags,
    0,
    questions,
    0,
    answers,
    0,
    authorities,
    0,
    additionals,
    ...rest,
  );
}

function rcode(answer: Buffer | null): number {
  assert.ok(answer !== null, 'no answer');
  assert.equal(answer.readUInt16BE(0), 0xabcd);
  assert.ok((answer[2] & 0x80) !== 0);
  return answer[3] & 0xf;
}

test('the answer holds our own EDNS size and version, never the client’s', async () => {
  const answer = await ask('www.example.test +bufsize=4000');
  assert.match(answer.text, /EDNS: version: 0, flags:; udp: 1232/);
  assert.doesNotMatch((await ask('www.example.test +noedns')).text, /EDNS/);
});

test('DO is copied and changes nothing, AD and CD are cleared, RD is copied, RA is not set', async () => {
  const answer = await ask('www.example.test +dnssec +adflag +cdflag +recurse');
  assert.match(answer.text, /EDNS: version: 0, flags: do; udp: 1232/);
  assert.deepEqual(answer.flags, ['qr', 'aa', 'rd']);
  assert.deepEqual(answer.answer, ['www.example.test. 30 IN A 192.0.2.10']);
  assert.deepEqual((await ask('www.example.test +zflag')).flags, ['qr', 'aa']);
  assert.equal((await ask('www.example.test +ednsflags=0x40')).status, 'NOERROR');
  assert.match((await ask('www.example.test +ednsflags=0x40')).text, /EDNS: version: 0, flags:; udp/);
});

test('an unknown EDNS version gets BADVERS with ours, also with unknown options and flags', async () => {
  for (const how of [
    '+edns=1',
    '+edns=1 +ednsopt=100',
    '+edns=100 +dnssec',
    '+edns=1 +ednsflags=0x80 +subnet=10.0.0.0/24',
  ]) {
    const answer = await ask(`www.example.test ${how} +noednsnegotiation`);
    assert.equal(answer.status, 'BADVERS', how);
    assert.match(answer.text, /EDNS: version: 0,/);
    assert.deepEqual(answer.answer, []);
    assert.equal(answer.flags.includes('aa'), false);
  }
});

test('unknown options are ignored', async () => {
  const answer = await ask('www.example.test +ednsopt=100:010203 +ednsopt=65001');
  assert.equal(answer.status, 'NOERROR');
  assert.equal(answer.answer.length, 1);
  assert.doesNotMatch(answer.text, /OPT=/);
});

test('NSID tells server and epoch to who asks', async () => {
  assert.match((await ask('www.example.test +nsid')).text, /NSID: .*\("ns-test epoch 7"\)/);
  assert.doesNotMatch((await ask('www.example.test')).text, /NSID/);
});

test('unknown opcodes get NOTIMP and nothing else', async () => {
  for (const opcode of [1, 2, 4, 5, 6, 15]) {
    const answer = await ask(`example.test SOA +opcode=${opcode}`);
    assert.equal(answer.status, 'NOTIMP', `${opcode}`);
    assert.deepEqual([...answer.answer, ...answer.authority], []);
    assert.equal(answer.flags.includes('aa'), false);
    assert.match(answer.text, /opcode: [A-Z0-9]+, status: NOTIMP/);
  }
  assert.equal((await ask('+header-only +opcode=15 +noedns')).status, 'NOTIMP');
});

test('unknown types and reserved ones get NODATA, by UDP and TCP', async () => {
  for (const how of ['TYPE666', 'TYPE666 +tcp', 'TYPE65535', 'TYPE129', 'RRSIG', 'DNSKEY +dnssec']) {
    const answer = await ask(`example.test ${how}`);
    assert.equal(answer.status, 'NOERROR', how);
    assert.deepEqual(answer.flags, ['qr', 'aa']);
    assert.equal(answer.authority.length, 1);
  }
  // NXNAME, which is no type of data (RFC 9824 section 3.5).
  const noType = await ask('example.test TYPE128');
  assert.equal(noType.status, 'FORMERR');
  assert.match(noType.text, /EDE: 30/);
});

test('messages that are no query of one question get FORMERR', async () => {
  const opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
  const cases: [string, Uint8Array][] = [
    ['no question', message([0, 0, 0, 0], [])],
    ['two questions', message([2, 0, 0, 0], [...WWW, ...WWW])],
    ['question cut off', message([1, 0, 0, 0], WWW.slice(0, -1))],
    ['label runs past the end', message([1, 0, 0, 0], [63, 97])],
    ['compressed question', message([1, 0, 0, 0], [0xc0, 0x0c, 0, 1, 0, 1])],
    ['name of 256 bytes', message([1, 0, 0, 0], [...Array(127).fill([1, 97]).flat(), 1, 97, 0, 0, 1, 0, 1])],
    ['record missing', message([1, 0, 0, 1], WWW)],
    ['record data runs past the end', message([1, 0, 0, 1], [...WWW, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 5])],
    ['two OPT', message([1, 0, 0, 2], [...WWW, ...opt, ...opt])],
    ['OPT with a name', message([1, 0, 0, 1], [...WWW, 0xc0, 12, ...opt.slice(1)])],
    ['OPT as an answer', message([1, 1, 0, 0], [...WWW, ...opt])],
    ['option cut off', message([1, 0, 0, 1], [...WWW, ...opt.slice(0, -1), 4, 0, 3, 0, 9])],
  ];
  for (const [what, bytes] of cases) {
    const answer = await exchange(running.port, bytes);
    assert.equal(rcode(answer), 1, what);
  }
  assert.equal((await ask('+header-only +noedns')).status, 'FORMERR');
});

test('a query with other records beside OPT, or bytes after it, is answered', async () => {
  const record = [0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, 2, 1, 97];
  assert.equal(
    rcode(await exchange(running.port, message([1, 1, 1, 1], [...WWW, ...record, ...record, ...record]))),
    0,
  );
  assert.equal(rcode(await exchange(running.port, message([1, 0, 0, 0], [...WWW, 1, 2, 3]))), 0);
});

test('answers and fragments of a header are not answered', async () => {
  const dropped = { ...running.server.counters.dropped };
  assert.equal(await exchange(running.port, message([1, 0, 0, 0], WWW, 0x8100), 150), null);
  assert.equal(await exchange(running.port, Uint8Array.of(1, 2, 3), 150), null);
  assert.equal(running.server.counters.dropped.response, dropped.response + 1);
  assert.equal(running.server.counters.dropped.short, dropped.short + 1);
});

test('the server tells about itself in class CH what it should, and refuses the rest', async () => {
  assert.deepEqual((await ask('version.bind CH TXT')).answer, ['version.bind. 0 CH TXT "Portico"']);
  assert.deepEqual((await ask('ID.Server CH TXT')).answer, ['ID.Server. 0 CH TXT "ns-test"']);
  assert.deepEqual((await ask('epoch.portico CH TXT')).answer, ['epoch.portico. 0 CH TXT "7"']);
  assert.equal((await ask('www.example.test CH')).status, 'REFUSED');
  assert.equal((await ask('authors.bind CH TXT')).status, 'REFUSED');
});

test('the client subnet steers, and comes back with the scope for which the answer holds', async () => {
  // 10/8 is New York, in it 10.1/16 Tokyo, in that 10.1.2/24 New York; all around Amsterdam.
  const cases: [string, string, string][] = [
    ['10.0.0.0/24', '198.51.100.10', '10.0.0.0/24/16'],
    ['10.2.0.0/24', '198.51.100.10', '10.2.0.0/24/15'],
    ['10.128.0.0/24', '198.51.100.10', '10.128.0.0/24/9'],
    ['10.1.128.0/24', '203.0.113.10', '10.1.128.0/24/17'],
    ['10.1.2.0/24', '198.51.100.10', '10.1.2.0/24/24'],
    ['10.1.3.0/24', '203.0.113.10', '10.1.3.0/24/24'],
    ['10.1.2.3/32', '198.51.100.10', '10.1.2.3/32/24'],
    ['192.0.2.0/24', '192.0.2.10', '192.0.2.0/24/1'],
    ['11.0.0.0/24', '192.0.2.10', '11.0.0.0/24/8'],
    // Shorter than the map needs: for most addresses under it, with scope = source.
    ['10.0.0.0/8', '198.51.100.10', '10.0.0.0/8/8'],
    ['10.1.0.0/16', '203.0.113.10', '10.1.0.0/16/16'],
    ['8.0.0.0/6', '192.0.2.10', '8.0.0.0/6/6'],
    ['2001:db8:e::/48', '203.0.113.10', '2001:db8:e::/48/48'],
    ['2001:db8:f:100::/56', '198.51.100.10', '2001:db8:f:100::/56/48'],
    ['2001:db8:d::/48', '192.0.2.10', '2001:db8:d::/48/47'],
    ['::/1', '192.0.2.10', '::/1/1'],
  ];
  for (const [subnet, expected, echo] of cases) {
    for (const how of ['+notcp', '+tcp']) {
      const answer = await ask(`www.example.test +subnet=${subnet} ${how}`);
      assert.deepEqual(answer.answer, [`www.example.test. 30 IN A ${expected}`], subnet);
      assert.equal(answer.subnet, echo);
    }
  }
});

test('source 0 means the resolver’s address and is answered with scope 0', async () => {
  for (const subnet of ['0', '0.0.0.0/0', '::/0']) {
    const answer = await ask(`www.example.test +subnet=${subnet}`);
    assert.deepEqual(answer.answer, ['www.example.test. 30 IN A 192.0.2.10']);
    assert.match(answer.subnet ?? '', /\/0\/0$/);
  }
});

test('what does not depend on the client has scope 0', async () => {
  const questions = [
    'static.example.test',
    'www.example.test TXT',
    'nope.example.test',
    'example.net',
    'sub.example.test',
    'www.example.test ANY',
  ];
  for (const question of questions) {
    assert.equal((await ask(`${question} +notcp +subnet=10.1.2.0/24`)).subnet, '10.1.2.0/24/0', question);
  }
  assert.equal((await ask('www.example.test')).subnet, null);
});

test('a malformed client subnet gets FORMERR with EDNS', async () => {
  const options: readonly string[] = [
    '0001181000', // address too short
    '00011810c000', // scope not 0
    '00011800c0000201', // address too long
    '00011400c00021', // bits beyond the source
    '00012100c000020100', // source over 32
    '00030000', // family unknown
    '000118', // cut off
    '',
  ];
  for (const option of options) {
    const answer = await ask(`www.example.test +ednsopt=8:${option}`);
    assert.equal(answer.status, 'FORMERR', option);
    assert.match(answer.text, /EDNS: version: 0/, option);
    assert.equal(answer.subnet, null);
  }
});

test('the sums of the counters add up', () => {
  const { counters } = running.server;
  const sum = (counts: Record<string, number>) => Object.values(counts).reduce((a, b) => a + b, 0);
  assert.ok(sum(counters.queries) > 80);
  assert.equal(sum(counters.queries), sum(counters.responses) + sum(counters.dropped));
  assert.equal(sum(counters.types), sum(counters.responses));
  assert.equal(
    sum(counters.choices),
    Object.values(counters.sites)
      .map(sum)
      .reduce((a, b) => a + b, 0),
  );
  assert.ok(counters.responses.badvers >= 4 && counters.responses.notimp >= 6 && counters.responses.formerr >= 12);
  assert.ok(counters.ecsMalformed === 8 && counters.ecs > 30 && counters.edns >= counters.ecs);
  assert.equal(counters.types.none, counters.responses.notimp + 7);
});
