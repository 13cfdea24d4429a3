/** Every test of RFC 8906 section 8, with its command line and what it expects: servers that fail them break resolvers. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type DigAnswer, dig, type RunningServer, startServer } from './fixture.ts';

let running: RunningServer;
before(async () => {
  running = await startServer();
});
after(() => running.server.stop());

const ZONE = 'example.test';

interface Expected {
  readonly status: string;
  /** SOA in the answer section. */
  readonly hasSoa: boolean;
  readonly isAuthoritative: boolean;
  readonly hasOpt: boolean;
}

const PLAIN: Expected = { status: 'NOERROR', hasSoa: true, isAuthoritative: true, hasOpt: false };
const EDNS: Expected = { ...PLAIN, hasOpt: true };
const BADVERS: Expected = { status: 'BADVERS', hasSoa: false, isAuthoritative: false, hasOpt: true };

/** Section, what it tests, the arguments of dig, what is expected, and what is expected besides. */
const CASES: readonly [string, string, string, Expected, ((answer: DigAnswer) => void)?][] = [
  ['8.1.1', 'is the server configured for the zone', `+noedns +noad +norec soa ${ZONE}`, PLAIN],
  ['8.1.2', 'unknown types', `+noedns +noad +norec type1000 ${ZONE}`, { ...PLAIN, hasSoa: false }, isEmpty],
  ['8.1.3.1', 'CD=1 queries', `+noedns +noad +norec +cd soa ${ZONE}`, PLAIN, lacks('ad', 'rd', 'ra')],
  ['8.1.3.2', 'AD=1 queries', `+noedns +norec +ad soa ${ZONE}`, PLAIN, lacks('ad', 'rd', 'ra')],
  ['8.1.3.3', 'the reserved bit', `+noedns +noad +norec +zflag soa ${ZONE}`, PLAIN, lacksReservedBits],
  ['8.1.3.4', 'recursive queries', `+noedns +noad +rec soa ${ZONE}`, PLAIN, lacks('ra', 'ad')],
  [
    '8.1.4',
    'unknown opcodes',
    '+noedns +noad +opcode=15 +norec +header-only',
    { status: 'NOTIMP', hasSoa: false, isAuthoritative: false, hasOpt: false },
    isEmpty,
  ],
  ['8.1.5', 'TCP', `+noedns +noad +norec +tcp soa ${ZONE}`, PLAIN],
  ['8.2.1', 'minimal EDNS', `+nocookie +edns=0 +noad +norec soa ${ZONE}`, EDNS],
  ['8.2.2', 'EDNS version negotiation', `+nocookie +edns=1 +noednsneg +noad +norec soa ${ZONE}`, BADVERS],
  ['8.2.3', 'unknown EDNS options', `+nocookie +edns=0 +noad +norec +ednsopt=100 soa ${ZONE}`, EDNS, lacksOption100],
  [
    '8.2.4',
    'unknown EDNS flags',
    `+nocookie +edns=0 +noad +norec +ednsflags=0x40 soa ${ZONE}`,
    EDNS,
    lacksReservedBits,
  ],
  [
    '8.2.5',
    'EDNS version negotiation with unknown EDNS flags',
    `+nocookie +edns=1 +noednsneg +noad +norec +ednsflags=0x40 soa ${ZONE}`,
    BADVERS,
    lacksReservedBits,
  ],
  [
    '8.2.6',
    'EDNS version negotiation with unknown EDNS options',
    `+nocookie +edns=1 +noednsneg +noad +norec +ednsopt=100 soa ${ZONE}`,
    BADVERS,
    lacksOption100,
  ],
  // The zone is not signed: the answer says that there are no keys, with OPT; one too long is in the test below.
  ['8.2.7', 'truncated responses', `+norec +dnssec +bufsize=512 +ignore dnskey ${ZONE}`, { ...EDNS, hasSoa: false }],
  ['8.2.8', 'DO=1 handling', `+nocookie +edns=0 +noad +norec +dnssec soa ${ZONE}`, EDNS, hasDo],
  [
    '8.2.9',
    'EDNS version negotiation with DO=1',
    `+nocookie +edns=1 +noednsneg +noad +norec +dnssec soa ${ZONE}`,
    BADVERS,
    hasDo,
  ],
  [
    '8.2.10',
    'multiple defined EDNS options',
    `+edns=0 +noad +norec +cookie +nsid +expire +subnet=0.0.0.0/0 soa ${ZONE}`,
    EDNS,
    ({ text }) => {
      assert.match(text, /; COOKIE: [0-9a-f]{48} \(good\)/);
      assert.match(text, /; NSID: .*"ns-test epoch 7"/);
      assert.match(text, /; CLIENT-SUBNET: 0\.0\.0\.0\/0\/0/);
    },
  ],
];

for (const [section, what, args, expected, check] of CASES) {
  test(`RFC 8906 ${section}: ${what}`, async () => {
    const answer = await dig(running.port, args);
    assert.equal(answer.status, expected.status);
    assert.equal(
      answer.answer.some((line) => / SOA /.test(line)),
      expected.hasSoa,
    );
    assert.equal(answer.flags.includes('aa'), expected.isAuthoritative);
    assert.equal(/; EDNS: version: 0,/.test(answer.text), expected.hasOpt);
    check?.(answer);
  });
}

test('RFC 8906 8.2.7: a truncated answer has TC, OPT and version 0', async () => {
  const answer = await dig(running.port, '+norec +dnssec +bufsize=512 +ignore txt large.example.test');
  assert.equal(answer.status, 'NOERROR');
  assert.deepEqual(answer.flags, ['qr', 'aa', 'tc']);
  assert.match(answer.text, /; EDNS: version: 0, flags: do; udp: 1232/);
});

test('RFC 8906 section 3: every opcode but QUERY gets NOTIMP, with a question and without, by UDP and TCP', async () => {
  for (let opcode = 1; opcode < 16; opcode++) {
    for (const how of ['', '+tcp', '+header-only +noedns', '+dnssec']) {
      const answer = await dig(running.port, `${ZONE} SOA +opcode=${opcode} ${how}`);
      assert.equal(answer.status, 'NOTIMP', `${opcode} ${how}`);
      isEmpty(answer);
      assert.deepEqual(answer.flags, ['qr']);
    }
  }
});

function isEmpty({ answer }: DigAnswer): void {
  assert.deepEqual(answer, []);
}

function lacks(...flags: string[]): (answer: DigAnswer) => void {
  return (answer) => {
    for (const flag of flags) assert.ok(!answer.flags.includes(flag), flag);
  };
}

/** dig prints bits that have no name as MBZ. */
function lacksReservedBits({ text }: DigAnswer): void {
  assert.doesNotMatch(text, /MBZ/);
}

function lacksOption100({ text }: DigAnswer): void {
  assert.doesNotMatch(text, /OPT=100/);
}

function hasDo({ text }: DigAnswer): void {
  assert.match(text, /; EDNS: version: 0, flags: do;/);
}
