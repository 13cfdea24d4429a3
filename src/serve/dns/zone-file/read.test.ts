import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatRecordData } from '../presentation/record.ts';
import { formatName, parseName, ROOT_NAME } from '../wire/name.ts';
import { formatType } from '../wire/numbers.ts';
import { MAX_PROBLEMS, readZoneFile, type ZoneFileContents } from './read.ts';

const parsedZone = parseName('example.test.', ROOT_NAME);
assert.ok(parsedZone.ok);
const zone = parsedZone.name;

function read(text: string, files: Readonly<Record<string, string>> = {}): ZoneFileContents {
  return readZoneFile({
    text,
    file: 'zones/main.zone',
    zone,
    ttlSeconds: 7,
    include: (path) =>
      Object.hasOwn(files, path)
        ? { ok: true, text: files[path] }
        : { ok: false, message: `${path} does not exist`, remedy: 'name a file that is there' },
  });
}

/** `OWNER TTL TYPE DATA` of each record. */
function records(text: string, files: Readonly<Record<string, string>> = {}): string[] {
  const contents = read(text, files);
  assert.deepEqual(contents.problems, []);
  return contents.records.map(
    ({ owner, ttlSeconds, type, data }) =>
      `${formatName(owner)} ${ttlSeconds} ${formatType(type)} ${formatRecordData(type, data)}`,
  );
}

/** `FILE:LINE:COLUMN MESSAGE` of each problem. */
function problems(text: string, files: Readonly<Record<string, string>> = {}): string[] {
  const contents = read(text, files);
  for (const { remedy, value } of contents.problems) assert.ok(remedy !== '' && value.length <= 80);
  return contents.problems.map(({ file, line, column, message }) => `${file}:${line}:${column} ${message}`);
}

test('the example of RFC 1035 section 5.3 is read as it says', () => {
  const text = [
    '@   IN  SOA     VENERA      Action\\.domains (',
    '                                 20     ; SERIAL',
    '                                 7200   ; REFRESH',
    '                                 600    ; RETRY',
    '                                 3600000; EXPIRE',
    '                                 60)    ; MINIMUM',
    '',
    '        NS      A.ISI.EDU.',
    '        MX      10      VENERA',
    '        MX      20      VAXA',
    '',
    'A       A       26.3.0.103',
    'VENERA  A       10.1.0.52',
    '        A       128.9.0.32',
    '$INCLUDE MAILBOXES.TXT',
  ].join('\n');
  const mailboxes = 'MOE     PTR      A.ISI.EDU.\n';
  assert.deepEqual(records(text, { 'MAILBOXES.TXT': mailboxes }), [
    'example.test 7 SOA VENERA.example.test. Action\\.domains.example.test. 20 7200 600 3600000 60',
    'example.test 7 NS A.ISI.EDU.',
    'example.test 7 MX 10 VENERA.example.test.',
    'example.test 7 MX 20 VAXA.example.test.',
    'A.example.test 7 A 26.3.0.103',
    'VENERA.example.test 7 A 10.1.0.52',
    'VENERA.example.test 7 A 128.9.0.32',
    'MOE.example.test 7 PTR A.ISI.EDU.',
  ]);
});

test('TTL and class stand in either order, and each may be left out', () => {
  assert.deepEqual(
    records(
      'a 5 IN A 192.0.2.1\nb IN 1h A 192.0.2.2\nc in a 192.0.2.3\n\t1W2D A 192.0.2.4\nd A 192.0.2.5\ne CLASS1 0 TYPE1 192.0.2.6\n',
    ),
    [
      'a.example.test 5 A 192.0.2.1',
      'b.example.test 3600 A 192.0.2.2',
      'c.example.test 3600 A 192.0.2.3',
      'c.example.test 777600 A 192.0.2.4',
      'd.example.test 777600 A 192.0.2.5',
      'e.example.test 0 A 192.0.2.6',
    ],
  );
});

test('$TTL counts for records without a TTL, also after records with one', () => {
  assert.deepEqual(
    records('a A 192.0.2.1\n$TTL 1h30m\nb A 192.0.2.2\nc 5 A 192.0.2.3\nd A 192.0.2.4\n$TTL 0\ne A 192.0.2.5'),
    [
      'a.example.test 7 A 192.0.2.1',
      'b.example.test 5400 A 192.0.2.2',
      'c.example.test 5 A 192.0.2.3',
      'd.example.test 5400 A 192.0.2.4',
      'e.example.test 0 A 192.0.2.5',
    ],
  );
});

test('$ORIGIN completes names from there on, relative to the one before', () => {
  assert.deepEqual(records('$origin sub\n@ NS ns\n$ORIGIN deep\nx CNAME y\n$ORIGIN .\nz.example.test CNAME t\n'), [
    'sub.example.test 7 NS ns.sub.example.test.',
    'x.deep.sub.example.test 7 CNAME y.deep.sub.example.test.',
    'z.example.test 7 CNAME t.',
  ]);
});

test('origin and owner of an included file stay in it, its $TTL does not', () => {
  const files = {
    'a/one.zone': '@ TXT one\n$ORIGIN x\n$TTL 9\nin TXT in\n$INCLUDE a/two.zone two',
    'a/two.zone': 'w TXT w\n',
  };
  assert.deepEqual(records('o TXT o\n$INCLUDE a/one.zone one\n TXT again\nrel TXT rel', files), [
    'o.example.test 7 TXT "o"',
    'one.example.test 7 TXT "one"',
    'in.x.one.example.test 9 TXT "in"',
    'w.two.x.one.example.test 9 TXT "w"',
    'o.example.test 9 TXT "again"',
    'rel.example.test 9 TXT "rel"',
  ]);
  const [, , third] = read('$INCLUDE a/one.zone', files).records;
  assert.deepEqual([third.file, third.line], ['zones/a/two.zone', 1]);
});

test('parentheses, quotes, escapes and comments are as in RFC 1035', () => {
  assert.deepEqual(
    records(
      [
        't ( TXT "a ; b" ; comment ) "',
        '   "par(en) \\" \\\\ \\065" un\\"quoted\\;x',
        ') ; end',
        '\\097\\.b TXT ""',
        'p TXT(a)',
        'k HTTPS 1 . alpn="h2,h3" ; comment',
        's SOA a b(1 2(3 4)5)',
        '   ; nothing but a comment',
        '\r',
        'crlf TXT x\r',
      ].join('\n'),
    ),
    [
      't.example.test 7 TXT "a ; b" "par(en) \\" \\\\ A" "un\\"quoted;x"',
      'a\\.b.example.test 7 TXT ""',
      'p.example.test 7 TXT "a"',
      'k.example.test 7 HTTPS 1 . alpn="h2,h3"',
      's.example.test 7 SOA a.example.test. b.example.test. 1 2 3 4 5',
      'crlf.example.test 7 TXT "x"',
    ],
  );
});

test('unknown types and data as bytes are as in RFC 3597', () => {
  assert.deepEqual(
    records(
      'a TYPE731 \\# 6 abcd (\n ef 01 23 45 )\nb CLASS1 TYPE65535 \\# 0\nc A \\# 4 0A000001\nd TYPE28 2001:db8::1',
    ),
    [
      'a.example.test 7 TYPE731 \\# 6 abcdef012345',
      'b.example.test 7 TYPE65535 \\# 0',
      'c.example.test 7 A 10.0.0.1',
      'd.example.test 7 AAAA 2001:db8::1',
    ],
  );
});

test('every problem of a file is told at once, with line and column', () => {
  const text = [
    '\tA 192.0.2.1',
    'a A 192.0.2.256',
    'b MX 10 mail extra',
    'c TXT "open',
    '$GENERATE 1-10 h$ A 192.0.2.$',
    '$TTL soon',
    '$ORIGIN a..b',
    '$UNKNOWN x',
    '$TTL',
    'd CH TXT x',
    'e 1h',
    'f SPOOF x',
    '"g" A 192.0.2.1',
    'h ) A 192.0.2.1',
    'i TYPE731 abcd',
    'j RRSIG A 13 2 60 20260101000000 20250101000000 1 x. AAAA',
    'k 1h1 A 192.0.2.1',
    'l ANY x',
    'm TXT bad\\',
    '$INCLUDE none.zone',
    '$INCLUDE ../other.zone',
    '$INCLUDE /etc/passwd',
    'ü A 192.0.2.1',
    'last ( A 192.0.2.1',
  ].join('\n');
  const expected = [
    '1:2 the line begins with a blank, and no owner',
    '2:5 the A record is not valid: field 1: "192.0.2.256" is not',
    '3:14 the MX record is not valid: "extra" is too much',
    '4:7 a double quote is not closed',
    '5:1 $GENERATE is not supported',
    '6:6 "soon" is not a TTL',
    '7:9 a label of the name is empty',
    '8:1 $UNKNOWN is not known',
    '9:1 $TTL lacks its value',
    '10:3 the class CH is not served',
    '11:1 the record has no type',
    '12:3 record type SPOOF is not known',
    '13:1 a name does not stand in quotes',
    '14:3 ")" closes nothing',
    '15:3 the TYPE731 record is not valid: type TYPE731 has no text form',
    '16:3 the RRSIG record is not valid: RRSIG records are made by a signer',
    '17:3 "1h1" is not a TTL',
    '18:3 the ANY record is not valid: ANY is no type of data',
    '19:7 the TXT record is not valid: field 1: a backslash stands at the end',
    '20:10 none.zone does not exist',
    '21:10 $INCLUDE leads out of the folder',
    '22:10 $INCLUDE leads out of the folder',
    '23:1 character "ü" is not printable ASCII',
    '24:6 "(" is not closed up to the end of the file',
  ];
  const found = problems(text);
  for (const [index, line] of expected.entries()) {
    assert.ok(found[index]?.startsWith(`zones/main.zone:${line}`), `${found[index]} instead of ${line}`);
  }
  assert.equal(found.length, expected.length);
});

test('problems in included files name these; files that include each other end', () => {
  assert.deepEqual(problems('$INCLUDE a/b.zone', { 'a/b.zone': 'x A\n' }), [
    'zones/a/b.zone:1:3 the A record is not valid: field 1 is missing',
  ]);
  const loop = problems('$INCLUDE loop.zone\n$INCLUDE ./a/../loop.zone', {
    'loop.zone': 'x TXT x\n$INCLUDE loop.zone\n',
  });
  assert.deepEqual(loop, Array(2).fill('zones/loop.zone:2:10 $INCLUDE goes 8 files deep'));
  // Breadth is bounded as depth is: 20 files in each of 20 in each of 20.
  const files = { a: '$INCLUDE b\n'.repeat(20), b: '$INCLUDE c\n'.repeat(20), c: '$INCLUDE d\n'.repeat(20), d: '' };
  const wide = problems('$INCLUDE a', files);
  assert.ok(wide.some((problem) => problem.includes('$INCLUDE goes more than 1000 files')));
  const many = problems('x SPOOF y\n'.repeat(MAX_PROBLEMS + 50));
  assert.equal(many.length, MAX_PROBLEMS + 1);
  assert.match(many[MAX_PROBLEMS], /from here on problems are not told/);
});

const seed = Number(process.env.PORTICO_SEED ?? Date.now() % 2 ** 31);
console.log(`seed ${seed} (PORTICO_SEED repeats it)`);

test('whatever the text, reading gives records or problems with places, and never throws', () => {
  const pieces = fc.constantFrom(
    '$INCLUDE f ',
    '$ORIGIN ',
    '$TTL ',
    '$GENERATE',
    '(',
    ')',
    '"',
    '\\',
    '\\#',
    ';',
    '\n',
    '\n',
    ' ',
    ' ',
    '\t',
    '\r',
    '@',
    '.',
    'a',
    'IN',
    'CH',
    '1h',
    '60',
    'A',
    '192.0.2.1',
    'TXT',
    'SOA',
    'HTTPS',
    'LOC',
    'alpn=',
    '4',
    'TYPE1',
    '\0',
    '\ufeff',
    'ü',
    '\ud800',
  );
  const text = fc.oneof(
    fc.array(pieces, { maxLength: 60 }).map((list) => list.join('')),
    fc.string({ unit: 'binary', maxLength: 80 }),
  );
  fc.assert(
    fc.property(text, text, (main, included) => {
      const contents = read(main, { f: included });
      for (const { file, line, column, message, remedy } of contents.problems) {
        const lines = file === 'zones/f' ? included.split('\n') : main.split('\n');
        assert.ok(line >= 1 && line <= lines.length && column >= 1 && column <= lines[line - 1].length + 1);
        assert.ok(message !== '' && remedy !== '' && !/undefined|\[object/.test(message + remedy));
      }
      for (const record of contents.records) assert.ok(record.ttlSeconds >= 0 && record.data.bytes.length <= 65535);
    }),
    { seed, numRuns: Number(process.env.PORTICO_RUNS ?? 3000) },
  );
});

test('records that are printed into a zone file read back to the same', () => {
  const owner = fc.array(fc.uint8Array({ minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 5 });
  const record = fc.record({
    owner: owner.map((labels) => Uint8Array.from([...labels.flatMap((label) => [label.length, ...label]), 0])),
    type: fc.constantFrom(1, 16, 28, 13, 65280),
    ttlSeconds: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    bytes: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  });
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 8 }), (list) => {
      const bytesOf = (type: number, bytes: Uint8Array) =>
        type === 1
          ? bytes.subarray(0, 4)
          : type === 28 || type === 65280
            ? bytes
            : type === 16
              ? Uint8Array.of(16, ...bytes)
              : Uint8Array.of(7, ...bytes.subarray(0, 7), 8, ...bytes.subarray(8));
      const lines = list.map(({ owner, type, ttlSeconds, bytes }) => {
        const data = formatRecordData(type, { bytes: bytesOf(type, bytes), names: [] });
        return `${formatName(owner)}. ${ttlSeconds} IN ${formatType(type)} ${data}`;
      });
      const contents = read(lines.join('\n'));
      assert.deepEqual(contents.problems, [], lines.join('\n'));
      for (const [index, { owner, type, ttlSeconds, bytes }] of list.entries()) {
        const back = contents.records[index];
        assert.deepEqual([back.owner, back.type, back.ttlSeconds], [owner, type, ttlSeconds]);
        assert.deepEqual(back.data.bytes, bytesOf(type, bytes).slice());
      }
    }),
    { seed, numRuns: 500 },
  );
});
