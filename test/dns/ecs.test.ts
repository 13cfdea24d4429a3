/** Client subnets (RFC 7871) over the wire: which scope an answer has, and that no scope is wider or narrower than the map asks for. */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import type { NetworkEntry } from '../../src/config/model.ts';
import { createRandom } from '../../src/model/random.ts';
import { addressBits, formatPrefix, maskAddress, type Prefix, prefixContains } from '../../src/net/address.ts';
import { AMSTERDAM, address, mutableView, network, testConfig } from '../../src/serve/dns/sample.ts';
import { decodeMessage, encodeQuery } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { dig, type RunningServer, startServer } from './fixture.ts';

const IPV4 = { eu: '192.0.2.10', us: '198.51.100.10', jp: '203.0.113.10' } as const;
type SiteName = keyof typeof IPV4;

function at(prefix: string, site: SiteName): NetworkEntry {
  return { ...network(prefix, AMSTERDAM), location: null, site };
}

const NETWORKS = [
  // The resolver of these tests, whose place no answer for a client subnet may have.
  at('127.0.0.0/8', 'us'),
  at('61.0.0.0/16', 'jp'),
  at('61.0.7.0/24', 'eu'),
  at('2001:db8::/32', 'jp'),
  at('2001:db8:7::/48', 'us'),
];

const view = mutableView();
const running: RunningServer[] = [];
let socket: Socket;

before(async () => {
  running.push(await startServer({ config: testConfig({ networks: NETWORKS }), steering: view }));
  socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
});
after(async () => {
  socket.close();
  for (const { server } of running) await server.stop();
});

const ask = (args: string) => dig(running[0].port, args);

const NAME = parseName('www.example.test.', ROOT_NAME);

/** Asks with the option's data as it is; what the answer says of it, and the site. */
async function askRaw(port: number, option: Uint8Array) {
  assert.ok(NAME.ok);
  const options = Uint8Array.of(0, 8, 0, option.length, ...option);
  const edns = { payloadBytes: 1232, flags: 0, options };
  socket.send(encodeQuery(7, { name: NAME.name, type: RECORD_TYPE.A, class: 1 }, edns), port, '127.0.0.1');
  const [bytes] = (await once(socket, 'message')) as [Buffer];
  const decoded = decodeMessage(bytes);
  assert.ok(decoded.ok);
  const { flags, answers, additionals } = decoded.message;
  const echo = additionals[0]?.data.bytes ?? new Uint8Array(0);
  const told = answers[0]?.data.bytes.join('.');
  const site = (Object.keys(IPV4) as SiteName[]).find((each) => IPV4[each] === told);
  return { rcode: flags & 0xf, site, echo: echo.subarray(4), scope: echo.length > 7 ? echo[7] : -1 };
}

function optionOf({ address: { family, bytes }, length }: Prefix): Uint8Array {
  return Uint8Array.of(0, family === 4 ? 1 : 2, length, 0, ...bytes.subarray(0, (length + 7) >> 3));
}

test('a hole in a network narrows the scopes around it, and no more than it has to', async () => {
  const cases = [
    ['61.0.200.0/24', IPV4.jp, 17],
    ['61.0.6.0/24', IPV4.jp, 24],
    ['61.0.7.0/24', IPV4.eu, 24],
    ['61.0.7.0/32', IPV4.eu, 24],
    ['61.0.4.0/24', IPV4.jp, 23],
    ['61.1.0.0/16', IPV4.eu, 16],
    ['2001:db8:7::/56', IPV4.us, 48],
    ['2001:db8:6::/48', IPV4.jp, 48],
    ['2001:db8:8000::/48', IPV4.jp, 33],
  ] as const;
  for (const how of ['+notcp', '+tcp']) {
    for (const [subnet, expected, scope] of cases) {
      const answer = await ask(`www.example.test +subnet=${subnet} ${how}`);
      assert.deepEqual(answer.answer, [`www.example.test. 30 IN A ${expected}`], subnet);
      assert.equal(answer.subnet, `${subnet}/${scope}`);
    }
  }
});

test('a client of no network gets the default, not the place of the resolver, and a scope', async () => {
  assert.deepEqual((await ask('www.example.test')).answer, [`www.example.test. 30 IN A ${IPV4.us}`]);
  for (const [subnet, scope] of [
    ['192.0.2.0/24', 1],
    ['2001:db9::/48', 32],
    ['::ffff:61.0.0.0/120', 3],
  ] as const) {
    const answer = await ask(`www.example.test +subnet=${subnet}`);
    assert.deepEqual(answer.answer, [`www.example.test. 30 IN A ${IPV4.eu}`], subnet);
    assert.ok(answer.subnet?.endsWith(`/${scope}`), `${subnet}: ${answer.subnet}`);
  }
});

test('a source that is too short is answered for most of its prefix, with itself as scope', async () => {
  for (const [subnet, expected] of [
    ['61.0.0.0/20', IPV4.jp],
    ['61.0.0.0/16', IPV4.jp],
    ['60.0.0.0/7', IPV4.eu],
    ['61.0.4.0/22', IPV4.jp],
    ['2001:db8:4::/46', IPV4.jp],
  ] as const) {
    const answer = await ask(`www.example.test +subnet=${subnet}`);
    assert.deepEqual(answer.answer, [`www.example.test. 30 IN A ${expected}`], subnet);
    assert.ok(answer.subnet?.endsWith(`/${subnet.split('/')[1]}`), answer.subnet ?? 'none');
  }
});

test('source 0 means the resolver’s place, with scope 0', async () => {
  for (const option of ['00010000', '00020000', '00000000']) {
    const answer = await askRaw(running[0].port, Buffer.from(option, 'hex'));
    assert.equal(answer.site, 'us');
    assert.equal(Buffer.from(answer.echo).toString('hex'), option);
  }
});

test('an option that says anything else than RFC 7871 lets it gets FORMERR, and no echo', async () => {
  const wrong = {
    'query scope': '000118183d0007',
    'bits beyond the source': '000117003d0007',
    'bits beyond a source of 0': '0001000080',
    'an IPv4 address that is too short': '000118003d00',
    'an IPv4 address that is too long': '000118003d000700',
    'more than an IPv4 address': '000121003d00070000',
    'an IPv6 prefix in the family of IPv4': '0001300020010db80007',
    'an IPv4 prefix in the family of IPv6': '000218003d000701',
    'more than an IPv6 address': `00028100${'20'.repeat(17)}`,
    'a family that has no addresses': '000018003d0007',
    'a family that nobody knows': '000318003d0007',
    'an option that is cut off': '000118',
    'an option without data': '',
  };
  for (const [what, option] of Object.entries(wrong)) {
    const answer = await askRaw(running[0].port, Buffer.from(option, 'hex'));
    assert.equal(answer.rcode, 1, what);
    assert.equal(answer.echo.length, 0, what);
  }
  const twice = await ask('www.example.test +ednsopt=8:000118003d0007 +ednsopt=8:000118003d0007');
  assert.equal(twice.status, 'FORMERR');
});

test('only names and types that depend on the client have a scope; all that do have the same', async () => {
  const same = [
    'example.test SOA',
    'ns1.example.test',
    'nope.example.test',
    'www.example.test TXT',
    'www.example.test ANY',
  ];
  for (const question of same) {
    assert.equal((await ask(`${question} +notcp +subnet=61.0.7.0/24`)).subnet, '61.0.7.0/24/0', question);
  }
  for (const type of ['A', 'AAAA']) {
    assert.equal((await ask(`www.example.test ${type} +subnet=61.0.7.0/24`)).subnet, '61.0.7.0/24/24', type);
  }
});

test('a site that goes down changes answers, never scopes', async () => {
  view.down.add('jp');
  try {
    const answer = await ask('www.example.test +subnet=61.0.200.0/24');
    assert.notDeepEqual(answer.answer, [`www.example.test. 30 IN A ${IPV4.jp}`]);
    assert.equal(answer.subnet, '61.0.200.0/24/17');
  } finally {
    view.down.delete('jp');
  }
});

/** Few places in few bits, so that prefixes nest and touch. */
function randomPrefix(next: () => number, longest: number): Prefix {
  const family = next() < 0.6 ? 4 : 6;
  const bytes = address(family === 4 ? '61.0.0.0' : '2001:db8::').bytes.slice();
  const from = family === 4 ? 1 : 4;
  for (let i = from; i < from + 3; i++) bytes[i] = [0, 0, 7, 128, 255][Math.floor(next() * 5)];
  const length = from * 8 + Math.floor(next() * 25);
  const cut = Math.min(length, family === 4 ? longest : addressBits(6));
  return { address: maskAddress({ family, bytes }, cut), length: cut };
}

/** The site of an address by looking at every network: the longest prefix, the later of equals. */
function siteOf(networks: readonly NetworkEntry[], bytes: Uint8Array, family: 4 | 6): SiteName {
  let best: NetworkEntry | null = null;
  for (const each of networks) {
    if (!prefixContains(each.prefix, { family, bytes })) continue;
    if (best === null || each.prefix.length >= best.prefix.length) best = each;
  }
  return (best?.site ?? 'eu') as SiteName;
}

/** Sites of all clients of a prefix: they change where a network begins or ends only. */
function sitesIn(networks: readonly NetworkEntry[], prefix: Prefix): Set<SiteName> {
  const { family, bytes } = prefix.address;
  const sites = new Set([siteOf(networks, bytes, family)]);
  for (const { prefix: inner } of networks) {
    if (inner.length <= prefix.length || !prefixContains(prefix, inner.address)) continue;
    sites.add(siteOf(networks, inner.address.bytes, family));
    // Up to the prefix, and for every bit of the network what stands beside it.
    for (let bit = prefix.length; bit < inner.length; bit++) {
      const beside = maskAddress(inner.address, bit + 1).bytes;
      beside[bit >> 3] ^= 0x80 >> (bit & 7);
      sites.add(siteOf(networks, beside, family));
    }
  }
  return sites;
}

test('random maps: no two scopes overlap with different answers, and none is narrower than needed', async (t) => {
  const seed = Date.now() >>> 0;
  t.diagnostic(`seed ${seed}`);
  const draw = createRandom(seed);
  const next = () => draw() / 2 ** 32;
  for (let round = 0; round < 5; round++) {
    const networks = [at('0.0.0.0/0', 'eu'), at('::/0', 'eu')];
    const size = 1 + Math.floor(next() * 25);
    for (let i = 0; i < size; i++) {
      const text = formatPrefix(randomPrefix(next, 28));
      if (networks.every(({ prefix }) => formatPrefix(prefix) !== text)) {
        networks.push(at(text, (['eu', 'us', 'jp'] as const)[Math.floor(next() * 3)]));
      }
    }
    const started = await startServer({ config: testConfig({ networks }) });
    running.push(started);
    const told: { scope: Prefix; site: SiteName }[] = [];
    for (let i = 0; i < 120; i++) {
      const prefix = randomPrefix(next, 32);
      const answer = await askRaw(started.port, optionOf(prefix));
      const message = `seed ${seed}: ${formatPrefix(prefix)} got ${answer.site} with ${answer.scope}`;
      assert.ok(answer.site !== undefined && answer.rcode === 0, message);
      const within = sitesIn(networks, prefix);
      assert.ok(within.has(answer.site), message);
      if (within.size > 1) {
        assert.equal(answer.scope, prefix.length, message);
        continue;
      }
      assert.ok(answer.scope <= prefix.length, message);
      const scope = { address: maskAddress(prefix.address, answer.scope), length: answer.scope };
      assert.deepEqual(sitesIn(networks, scope), new Set([answer.site]), message);
      told.push({ scope, site: answer.site });
      if (answer.scope === 0) continue;
      const wider = { address: maskAddress(prefix.address, answer.scope - 1), length: answer.scope - 1 };
      assert.ok(sitesIn(networks, wider).size > 1, `${message}, but all of ${formatPrefix(wider)} have it`);
    }
    for (const a of told) {
      for (const b of told) {
        if (prefixContains(a.scope, b.scope.address) && b.scope.length >= a.scope.length) assert.equal(a.site, b.site);
      }
    }
  }
});
