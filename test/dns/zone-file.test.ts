/** Zone files against others that read them: Unbound serves the same file, and dig prints what it got as bytes. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { formatName, parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { formatType, RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { readZoneText } from '../../src/serve/dns/zone-file/access.ts';
import { readZoneFile } from '../../src/serve/dns/zone-file/read.ts';
import { LAYOUT_TYPES, recordText } from './record-text.ts';
import { startAuthority } from './unbound.ts';

const seed = Number(process.env.PORTICO_SEED ?? Date.now() % 2 ** 31);
console.log(`seed ${seed} (PORTICO_SEED repeats it)`);
const SETS = Number(process.env.PORTICO_RECORDS ?? 3000);

const run = promisify(execFile);

/** Types that Unbound or dig knows less of than we do, or that stand once in a zone. */
const LEFT_OUT: readonly number[] = [RECORD_TYPE.SOA, RECORD_TYPE.NS, RECORD_TYPE.DNAME, RECORD_TYPE.CNAME];

/** Unbound 1.17 does not know the later parameters of SVCB, and cuts values at blanks. */
const PARAMETERS = ['alpn', 'port', 'ipv4hint', 'ipv6hint', 'ech'];

/** What the two others do not get wrong. */
function plain(type: number, text: string): string {
  const fields = text.split(' ');
  switch (type) {
    case RECORD_TYPE.LOC:
      // Unbound 1.17 knows N, S, E and W by capitals only, and takes a blank at the end for a length of 0.
      return `${text.slice(0, text.search(/[ew] /i) + 2).toUpperCase()}-1.5m 1m 20m 0.03m`;
    case RECORD_TYPE.NAPTR:
      // dig 9.18 refuses messages with flags and expressions that no client could use, and digests of a wrong length.
      return `${fields[0]} ${fields[1]} "u" "E2U+sip" "!^.*$!sip:a;b@example.test!" ${fields[fields.length - 1]}`;
    case RECORD_TYPE.DS:
    case RECORD_TYPE.CDS:
      return [fields[0], fields[1], '250', ...fields.slice(3)].join(' ');
    case RECORD_TYPE.DNSKEY:
    case RECORD_TYPE.CDNSKEY:
      // Keys of private algorithms begin with a name, which dig looks for.
      return [fields[0], fields[1], 'ED25519', ...fields.slice(3)].join(' ');
    case RECORD_TYPE.CERT:
      // Unbound 1.17 takes the type 0 for none at all.
      return [fields[0] === '0' ? 'PKIX' : fields[0], ...fields.slice(1)].join(' ');
    case RECORD_TYPE.SSHFP:
      return [fields[0], '250', ...fields.slice(2)].join(' ');
    default:
      return text;
  }
}

interface Drawn {
  readonly text: string;
  readonly included: string;
  readonly questions: readonly string[];
}

/** A zone file with all that the format allows between records, and as many sets as wanted. */
function drawZone(): Drawn {
  const types = fc.constantFrom(...LAYOUT_TYPES.filter((type) => !LEFT_OUT.includes(type)), 65280);
  const data = types.chain((type) =>
    (type === 65280
      ? fc.uint8Array({ maxLength: 30 }).map((bytes) => `\\# ${bytes.length} ${Buffer.from(bytes).toString('hex')}`)
      : recordText(type, PARAMETERS)
    ).map((text) => ({ type, text: plain(type, text) })),
  );
  const styles = fc.record({
    data,
    ttl: fc.constantFrom('', '5 ', '1h30m ', '2D '),
    place: fc.constantFrom('', 'IN ', 'in '),
    isWrapped: fc.boolean(),
    isOwnerOmitted: fc.boolean(),
    between: fc.constantFrom(
      '',
      '',
      '',
      '; nothing ( but " a comment',
      '   ',
      '$TTL 1w',
      '$TTL 77',
      '$ORIGIN sub.example.test.',
      '$ORIGIN example.test.',
    ),
  });
  const drawn = fc.sample(styles, { seed, numRuns: SETS });
  const head = '$TTL 1h\n@ SOA ns1 host\\.master 1 1h 15m 2w 1m\n@ NS ns1\nns1 A 192.0.2.53\n';
  const lines: string[] = [];
  const questions: string[] = [];
  let origin = 'example.test.';
  let owner = '';
  const present = new Set<number>();
  let isDefault = true;
  for (const [
    index,
    {
      data: { type, text },
      ttl,
      place,
      isWrapped,
      isOwnerOmitted,
      between,
    },
  ] of drawn.entries()) {
    if (between.startsWith('$ORIGIN')) origin = between.slice(8);
    if (between !== '') lines.push(between);
    // A set has one TTL: one record of a type at each name.
    const isSame = isOwnerOmitted && owner !== '' && !present.has(type);
    if (!isSame) {
      owner = `r${index}.${origin}`;
      present.clear();
    }
    present.add(type);
    questions.push(`${owner} TYPE${type}`);
    // Unbound 1.17 takes TTL before class only, and forgets $TTL (RFC 2308 section 4) after a record that has its own.
    if (between.startsWith('$TTL')) isDefault = true;
    const own = ttl === '' && !isDefault ? '9 ' : ttl;
    if (own !== '') isDefault = false;
    const fields = own + place;
    const wrapped = isWrapped ? `( ; begins\n  ${text} ; goes on\n\t)` : text;
    lines.push(`${isSame ? '\t' : `r${index} `}${fields}${formatType(type)} ${wrapped}`);
  }
  const half = lines.findIndex((line, index) => index > lines.length / 2 && line.startsWith('r'));
  return {
    text: `${head}${lines.slice(0, half).join('\n')}\n$INCLUDE more.inc\n`,
    included: `$ORIGIN ${originAt(lines, half)}\n${lines.slice(half).join('\n')}\n`,
    questions: [...new Set(questions)],
  };
}

function originAt(lines: readonly string[], index: number): string {
  const last = lines.slice(0, index).findLast((line) => line.startsWith('$ORIGIN'));
  return last?.slice(8) ?? 'example.test.';
}

/** `owner TYPEnnn ttl hex` of records. */
function describe(owner: string, type: string, ttl: number | string, hex: string): string {
  return `${owner.toLowerCase()} ${type} ${ttl} ${hex.toLowerCase()}`;
}

/** What dig makes of the answers to all questions, printed as RFC 3597 bytes. */
async function askAll(port: number, folder: string, questions: readonly string[]): Promise<Set<string>> {
  const file = join(folder, 'questions');
  writeFileSync(file, `${questions.join('\n')}\n`);
  const options = '+tcp +keepopen +norecurse +noall +answer +unknownformat +nosplit +tries=1 +time=5'.split(' ');
  const { stdout } = await run('dig', ['@127.0.0.1', '-p', String(port), ...options, '-f', file], {
    maxBuffer: 256 * 1024 * 1024,
  });
  const records = new Set<string>();
  for (const line of stdout.split('\n')) {
    const match = /^(\S+)\s+([0-9]+)\s+CLASS1\s+(TYPE[0-9]+)\s+\\# [0-9]+\s*(.*)$/.exec(line);
    if (match !== null) records.add(describe(match[1], match[3], match[2], match[4].replaceAll(' ', '')));
  }
  return records;
}

test('a large zone file is read to the same bytes as Unbound reads it', { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'zone-file-'));
  try {
    const drawn = drawZone();
    const main = join(folder, 'main.zone');
    writeFileSync(main, drawn.text);
    writeFileSync(join(folder, 'more.inc'), drawn.included);
    const zone = parseName('example.test.', ROOT_NAME);
    assert.ok(zone.ok);
    const contents = readZoneFile({
      text: drawn.text,
      file: main,
      zone: zone.name,
      ttlSeconds: 3600,
      include: (path) => readZoneText(join(folder, path), folder),
    });
    assert.deepEqual(contents.problems, []);
    const ours = new Set(
      contents.records
        .filter(({ type }) => !LEFT_OUT.includes(type))
        .map(({ owner, type, ttlSeconds, data }) =>
          describe(`${formatName(owner)}.`, `TYPE${type}`, ttlSeconds, Buffer.from(data.bytes).toString('hex')),
        ),
    );
    const unbound = await startAuthority('example.test', main);
    try {
      const theirs = await askAll(unbound.port, folder, ['ns1.example.test. TYPE1', ...drawn.questions]);
      const onlyOurs = [...ours].filter((record) => !theirs.has(record));
      const onlyTheirs = [...theirs].filter((record) => !ours.has(record));
      assert.deepEqual({ onlyOurs, onlyTheirs }, { onlyOurs: [], onlyTheirs: [] });
      assert.ok(ours.size > SETS * 0.9);
    } finally {
      await unbound.stop();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
