/** Options of EDNS: cookies (RFC 7873, 9018), extended errors (RFC 8914), keepalive (RFC 7828), padding (RFC 7830). */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { mutableView, testConfig, testProtocol } from '../../src/serve/dns/sample.ts';
import { encodeQuery } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { CLASS, RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { dig, exchange, type RunningServer, startServer } from './fixture.ts';

const view = mutableView();
const others: RunningServer[] = [];
let running: RunningServer;
before(async () => {
  running = await startServer({ steering: view });
});
after(async () => {
  for (const { server } of [running, ...others]) await server.stop();
});

const ask = (args: string, port = running.port) => dig(port, args);

async function startWith(cookies: { isEnabled: boolean; secrets: readonly Uint8Array[] }): Promise<number> {
  const other = await startServer({ config: testConfig({ dnsProtocol: testProtocol({ cookies }) }) });
  others.push(other);
  return other.port;
}

/** The whole cookie in an answer, 48 digits. */
function cookieOf(text: string): string {
  const cookie = /; COOKIE: ([0-9a-f]{48})\b/.exec(text);
  assert.ok(cookie !== null, text);
  return cookie[1];
}

const CLIENT = '0102030405060708';

test('a client’s cookie is answered with one of ours, whatever the answer is', async () => {
  for (const question of ['www.example.test', 'nope.example.test', 'elsewhere.example', 'large.example.test TXT']) {
    for (const how of ['', '+tcp']) {
      const { text } = await ask(`${question} +cookie=${CLIENT} ${how}`);
      assert.match(text, /; COOKIE: 010203040506070801000000[0-9a-f]{24} \(good\)/, question);
    }
  }
});

test('a cookie that comes back is good and stays the same', async () => {
  const first = cookieOf((await ask(`www.example.test +cookie=${CLIENT}`)).text);
  const before = { ...running.server.counters.cookies };
  const second = await ask(`www.example.test +cookie=${first}`);
  assert.equal(cookieOf(second.text), first);
  assert.deepEqual(running.server.counters.cookies, { ...before, good: before.good + 1 });
});

test('a cookie that is not ours is answered as if there were none, with a good one', async () => {
  const bad = running.server.counters.cookies.bad;
  for (const server of ['0100000000000000aabbccddeeff0011', '99'.repeat(8), '99'.repeat(32)]) {
    const answer = await ask(`www.example.test +cookie=${CLIENT}${server}`);
    assert.equal(answer.status, 'NOERROR');
    assert.equal(answer.answer.length, 1);
    assert.notEqual(cookieOf(answer.text), `${CLIENT}${server}`);
  }
  assert.equal(running.server.counters.cookies.bad, bad + 3);
});

test('a cookie of an impossible length gets FORMERR; of two the first counts', async () => {
  for (const bytes of [0, 1, 7, 9, 15, 41]) {
    const answer = await ask(`www.example.test +ednsopt=10:${'aa'.repeat(bytes)}`);
    assert.equal(answer.status, 'FORMERR', `${bytes} bytes`);
    assert.doesNotMatch(answer.text, /COOKIE/);
  }
  const twice = await ask(`www.example.test +ednsopt=10:${CLIENT} +ednsopt=10:aa`);
  assert.equal(twice.status, 'NOERROR');
  assert.match(cookieOf(twice.text), new RegExp(`^${CLIENT}`));
});

test('a query without a question but with a cookie gets a cookie', async () => {
  const query = (cookie: string) => {
    const data = Buffer.from(cookie, 'hex');
    const head = [0xab, 0xcd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    return Uint8Array.of(...head, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4 + data.length, 0, 10, 0, data.length, ...data);
  };
  const askCookie = async (cookie: string) => {
    const answer = await exchange(running.port, query(cookie));
    assert.ok(answer !== null);
    const at = answer.indexOf(CLIENT, 'hex');
    // The extended RCODE: its upper bits are the first byte of the OPT's TTL.
    return {
      rcode: (answer[12 + 5] << 4) | (answer[3] & 0xf),
      counts: [...answer.subarray(4, 12)],
      cookie: answer.subarray(at, at + 24).toString('hex'),
    };
  };
  const first = await askCookie(CLIENT);
  assert.equal(first.rcode, 0);
  assert.deepEqual(first.counts, [0, 0, 0, 0, 0, 0, 0, 1]);
  assert.deepEqual(await askCookie(first.cookie), first);
  const forged = await askCookie(`${CLIENT}${'00'.repeat(16)}`);
  assert.equal(forged.rcode, 23, 'BADCOOKIE');
  assert.match(forged.cookie, new RegExp(`^${CLIENT}01000000(?!00000000)`));
});

test('servers that share a secret know each other’s cookies, also while it is rolled over', async () => {
  const [old, next] = [1, 2].map((byte) => new Uint8Array(16).fill(byte));
  const steps = [[old], [old, next], [next, old], [next]];
  const ports = await Promise.all(steps.map((secrets) => startWith({ isEnabled: true, secrets })));
  const made = await Promise.all(
    ports.map(async (port) => cookieOf((await ask(`www.example.test +cookie=${CLIENT}`, port)).text)),
  );
  for (const [step, port] of ports.entries()) {
    // Servers are at most one step apart.
    for (const from of [step - 1, step, step + 1].filter((each) => each in made)) {
      const good = others[step].server.counters.cookies.good;
      await ask(`www.example.test +cookie=${made[from]}`, port);
      assert.equal(others[step].server.counters.cookies.good, good + 1, `a cookie of step ${from} at step ${step}`);
    }
  }
  const bad = others[3].server.counters.cookies.bad;
  const answer = await ask(`www.example.test +cookie=${made[0]}`, ports[3]);
  assert.equal(others[3].server.counters.cookies.bad, bad + 1);
  assert.notEqual(cookieOf(answer.text), made[0]);
});

test('cookies can be switched off', async () => {
  const port = await startWith({ isEnabled: false, secrets: [] });
  const answer = await ask(`www.example.test +cookie=${CLIENT}`, port);
  assert.equal(answer.status, 'NOERROR');
  assert.doesNotMatch(answer.text, /COOKIE/);
});

test('a reload brings new secrets and what is told', async () => {
  const other = await startServer();
  others.push(other);
  const made = cookieOf((await ask(`www.example.test +cookie=${CLIENT}`, other.port)).text);
  const cookies = { isEnabled: true, secrets: [new Uint8Array(16).fill(9)] };
  const tell = { version: null, server: false, epoch: false };
  assert.ok((await other.server.reload(testConfig({ dnsProtocol: testProtocol({ cookies, tell }) }))).ok);
  await ask(`www.example.test +cookie=${made}`, other.port);
  assert.equal(other.server.counters.cookies.bad, 1);
  for (const name of ['version.bind', 'version.server', 'id.server', 'hostname.bind', 'epoch.portico']) {
    assert.equal((await ask(`${name} CH TXT`)).status, 'NOERROR', name);
    assert.equal((await ask(`${name} CH TXT`, other.port)).status, 'REFUSED', name);
  }
  assert.doesNotMatch((await ask('www.example.test +nsid', other.port)).text, /NSID/);
});

test('an extended error says why: another zone, another class, a transfer', async () => {
  for (const question of ['www.example.net', 'www.example.test -c HS', 'authors.bind CH TXT']) {
    assert.match((await ask(question)).text, /; EDE: 20 \(Not Authoritative\)/, question);
    assert.doesNotMatch((await ask(`${question} +noedns`)).text, /EDE|EDNS/, question);
  }
  // dig shows nothing of a refused transfer.
  const name = parseName('example.test.', ROOT_NAME);
  assert.ok(name.ok);
  const question = { name: name.name, type: RECORD_TYPE.IXFR, class: CLASS.IN };
  const edns = { payloadBytes: 1232, flags: 0, options: new Uint8Array(0) };
  const answer = await exchange(running.port, encodeQuery(1, question, edns));
  assert.ok(answer !== null);
  assert.equal(answer.subarray(-19).toString('latin1'), '\0\x0f\0\x0f\0\x12zone transfer');
  for (const question of ['www.example.test', 'nope.example.test', 'sub.example.test', 'www.example.test TXT']) {
    assert.doesNotMatch((await ask(question)).text, /EDE/, question);
  }
});

test('addresses of a service that is up nowhere come with an extended error, and the client subnet before it', async () => {
  for (const site of ['eu', 'us', 'jp']) view.down.add(site);
  const answer = await ask('www.example.test +subnet=10.0.0.0/24');
  const plain = await ask('www.example.test +noedns');
  view.down.clear();
  assert.match(answer.text, /; EDE: 0 \(Other\): \(no site is healthy\)/);
  assert.equal(answer.subnet, '10.0.0.0/24/16');
  assert.equal(answer.answer.length, 1);
  assert.equal(plain.answer.length, 1);
});

test('an extended error never costs an answer its place', async () => {
  view.down.add('eu');
  const full = await ask('wide.example.test +bufsize=512');
  view.down.clear();
  const before = await ask('wide.example.test +bufsize=512');
  assert.equal(full.answer.length, before.answer.length);
  assert.ok(full.sizeBytes <= 512);
});

test('keepalive is answered by TCP only, with how long the client may be silent', async () => {
  assert.match((await ask('www.example.test +tcp +keepalive')).text, /; TCP KEEPALIVE: 30(\.0)? secs/);
  assert.doesNotMatch((await ask('www.example.test +notcp +keepalive')).text, /TCP KEEPALIVE/);
  assert.doesNotMatch((await ask('www.example.test +tcp')).text, /TCP KEEPALIVE/);
  // A client that sends a timeout of its own, against RFC 7828 section 3.2.1, is told ours.
  assert.match((await ask('www.example.test +tcp +ednsopt=11:0001')).text, /; TCP KEEPALIVE: 30(\.0)? secs/);
});

test('padding is taken and none sent: nothing here is encrypted (RFC 8467 section 3)', async () => {
  for (const how of ['', '+tcp']) {
    const answer = await ask(`www.example.test +padding=128 ${how}`);
    assert.equal(answer.status, 'NOERROR');
    assert.doesNotMatch(answer.text, /PAD/);
  }
});

test('all options at once fit beside the longest question', async () => {
  const name = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(48)}.example.test`;
  for (const how of ['+bufsize=512', '+bufsize=512 +tcp +keepalive']) {
    const answer = await ask(`${name} +nsid +cookie +subnet=2001:db8::/128 ${how}`);
    assert.equal(answer.status, 'NXDOMAIN');
    assert.equal(answer.question[0], `;${name}. IN A`);
    for (const option of [/NSID/, /COOKIE/, /CLIENT-SUBNET/]) assert.match(answer.text, option);
    assert.ok(answer.sizeBytes <= 512);
  }
});
