/** A key roll as validators see it: in every step, by whichever DS a cache still has. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { writeKeys } from '../../src/serve/dns/dnssec/key-folder.ts';
import { type RollAction, rollKeys } from '../../src/serve/dns/dnssec/key-roll.ts';
import type { ZoneKey } from '../../src/serve/dns/dnssec/zone-key.ts';
import { dig } from './fixture.ts';
import { dsLine, type SignedServer, startSigned, writeDelvAnchors } from './signed-fixture.ts';
import { startUnbound, type Unbound } from './unbound.ts';

const run = promisify(execFile);
const ZONE = 'example.test';
const NO_TIMES = { dnskeyTtlSeconds: 0, largestTtlSeconds: 0, dsTtlSeconds: 0 };
let signed: SignedServer;
let first: ZoneKey;

before(async () => {
  signed = await startSigned();
  first = signed.keysOf(ZONE).active;
});
after(() => signed.stop());

async function step(action: RollAction): Promise<void> {
  const result = rollKeys(signed.keysOf(ZONE), action, Date.now(), NO_TIMES, true);
  assert.ok(result.ok);
  writeKeys(signed.keyFolder, result.keys);
  const reloaded = await signed.server.reload(signed.config);
  assert.ok(reloaded.ok);
}

/** Whether delv believes positive and negative answers, signed ahead and on demand, with this key as its only anchor. */
async function isBelieved(key: ZoneKey): Promise<boolean> {
  const anchors = join(signed.keyFolder, `anchor-${key.tag}`);
  writeDelvAnchors(anchors, [[ZONE, key]]);
  const believed = await Promise.all(
    ['static.example.test A', 'a.pages.example.test TXT'].map(async (question) => {
      const args = `@127.0.0.1 -p ${signed.port} -a ${anchors} +root=${ZONE} ${question}`;
      const { stdout, stderr } = await run('delv', args.split(' ')).catch(
        (error: { stdout: string; stderr: string }) => error,
      );
      return /fully validated/.test(stdout + stderr);
    }),
  );
  assert.equal(new Set(believed).size, 1, 'all or none');
  return believed[0];
}

async function isAuthentic(unbound: Unbound, question: string): Promise<boolean> {
  const { flags, status } = await dig(unbound.port, `+recurse +adflag ${question}`);
  return status === 'NOERROR' && flags.includes('ad');
}

test('each step is believed by old and new DS alike, and at the end by the new one only', async () => {
  assert.ok(await isBelieved(first));
  await step('start');
  const second = signed.keysOf(ZONE).other;
  assert.ok(second !== null);
  assert.deepEqual([await isBelieved(first), await isBelieved(second)], [true, true], 'published');
  assert.equal((await dig(signed.port, `${ZONE} CDS`)).answer.length, 1);
  // A resolver that keeps what it gets over all steps, from the end of the first wait on.
  const unbound = await startUnbound([dsLine(ZONE, first), dsLine(ZONE, second)], [ZONE], signed.port);
  try {
    assert.ok(await isAuthentic(unbound, 'static.example.test A'));
    for (const action of ['switch', 'ds'] as const) {
      await step(action);
      assert.deepEqual([await isBelieved(first), await isBelieved(second)], [true, true], action);
      for (const question of [
        'static.example.test A',
        `mail1.${ZONE} A`,
        `${action}.${ZONE} A`,
        'www.example.test AAAA',
      ]) {
        assert.ok(await isAuthentic(unbound, question), `${action}: ${question}`);
      }
      const cds = await dig(signed.port, `${ZONE} CDS`);
      assert.match(cds.answer[0], new RegExp(` CDS ${second.tag} 13 2 `), 'CDS tells the new key');
    }
    await step('finish');
    assert.deepEqual([await isBelieved(first), await isBelieved(second)], [false, true], 'finished');
    assert.ok(await isAuthentic(unbound, 'static.example.test MX'));
  } finally {
    await unbound.stop();
  }
  assert.deepEqual(signed.server.signing()[0].keyTags, [second.tag]);
});

test('who takes DNSSEC off asks the parent by CDS to forget it, and stays signed meanwhile', async () => {
  writeKeys(signed.keyFolder, { ...signed.keysOf(ZONE), isWithdrawn: true });
  assert.ok((await signed.server.reload(signed.config)).ok);
  assert.deepEqual((await dig(signed.port, `${ZONE} CDS`)).answer, [`${ZONE}. 3600 IN CDS 0 0 0 00`]);
  assert.deepEqual((await dig(signed.port, `${ZONE} CDNSKEY`)).answer, [`${ZONE}. 3600 IN CDNSKEY 0 3 0 AA==`]);
  assert.ok(await isBelieved(signed.keysOf(ZONE).active));
});

test('a key file that cannot be used changes nothing while the server runs', async () => {
  const keys = signed.keysOf(ZONE);
  writeKeys(signed.keyFolder, { ...keys, zone: ZONE, active: { ...keys.active, tag: keys.active.tag ^ 1 } });
  const refused = await signed.server.reload(signed.config);
  assert.ok(!refused.ok);
  assert.match(refused.problems[0].message, /key file .* cannot be used: a key in it is none/);
  assert.ok(await isBelieved(keys.active));
});
