/** 20,000 random names a second with DO, from many prefixes: who asks for what is there, or proved itself, is still answered. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { workerCount } from '../../src/serve/dns/udp-workers.ts';
import { decodeMessage, encodeQuery } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { CLASS, FLAG, RECORD_TYPE } from '../../src/serve/dns/wire/numbers.ts';
import { dig, exchange } from './fixture.ts';
import { type SignedServer, startSigned } from './signed-fixture.ts';

const RATE = 20_000;
const SECONDS = 8;
const run = promisify(execFile);

let signed: SignedServer;
before(async () => {
  signed = await startSigned();
});
after(() => signed.stop());

/** Whether the answer by UDP is whole and signed; null: there is none within two seconds. */
async function isSigned(text: string, type: number): Promise<boolean | null> {
  const parsed = parseName(text, ROOT_NAME);
  assert.ok(parsed.ok);
  const edns = { payloadBytes: 1232, flags: 0x8000, options: new Uint8Array(0) };
  const answer = await exchange(signed.port, encodeQuery(1, { name: parsed.name, type, class: CLASS.IN }, edns));
  if (answer === null) return null;
  const decoded = decodeMessage(answer);
  assert.ok(decoded.ok);
  const { flags, answers, authorities } = decoded.message;
  const isWhole = (flags & (FLAG.TC | 0xf)) === 0;
  return isWhole && [...answers, ...authorities].some((each) => each.type === RECORD_TYPE.RRSIG);
}

test('legitimate queries are answered in a flood of random names', async (context) => {
  const before = signed.server.counters;
  const program = join(import.meta.dirname, 'dnssec-flood.ts');
  let isFlooding = true;
  const flooding = run(process.execPath, [program, `${signed.port}`, `${RATE}`, `${SECONDS}`]).finally(() => {
    isFlooding = false;
  });
  const counts = { signed: 0, short: 0, lost: 0, byTcp: 0 };
  for (let turn = 0; isFlooding; turn++) {
    for (const [name, type] of [
      ['www.example.test', RECORD_TYPE.A],
      ['static.example.test', RECORD_TYPE.HTTPS],
      ['static.example.test', RECORD_TYPE.AAAA],
    ] as const) {
      const result = await isSigned(name, type);
      counts[result === null ? 'lost' : result ? 'signed' : 'short']++;
    }
    // A name that is not there, by TCP.
    if (turn % 20 === 0 && (await dig(signed.port, `+dnssec +tcp p${turn}.example.test`)).status === 'NOERROR')
      counts.byTcp++;
  }
  const sent = Number((await flooding).stdout);
  const now = signed.server.counters;
  const asked = now.queries.udp - before.queries.udp;
  const denials = now.dnssec.denials - before.dnssec.denials;
  const overBudget = now.dnssec.overBudget - before.dnssec.overBudget;
  const figures = JSON.stringify({ sent, asked, denials, overBudget, ...counts });
  context.diagnostic(figures);
  assert.equal(counts.short, 0, figures);
  // Where the machine has other work, the socket's queue is full, and what is lost there says nothing about limits.
  if (asked < sent * 0.9) {
    context.skip(`the machine did not keep up: ${figures}`);
    return;
  }
  assert.ok(counts.signed > 50 && counts.lost * 20 <= counts.signed && counts.byTcp > 0, figures);
  // Each thread has a budget of its own, and a burst of a second at the beginning.
  const threads = workerCount(signed.config) + 1;
  assert.ok(denials <= signed.config.dnsProtocol.dnssec.denialsPerSecond * threads * (SECONDS + 3), figures);
  assert.ok(overBudget > asked / 4, figures);
});
