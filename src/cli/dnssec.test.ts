import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const MAIN = join(import.meta.dirname, 'main.ts');
const folder = mkdtempSync(join(tmpdir(), 'portico-dnssec-'));
const file = join(folder, 'portico.yaml');
after(() => rmSync(folder, { recursive: true }));

/** Runs commands one after the other in one process: what each wrote, and its exit status. */
function portico(...commands: readonly (readonly string[])[]): Promise<{ status: number; text: string }[]> {
  const script = `
    import { runMain } from ${JSON.stringify(MAIN)};
    process.stderr.write = process.stdout.write.bind(process.stdout);
    for (const args of JSON.parse(process.argv[1])) console.log('\\n=== ' + (await runMain(['dnssec', ...args])));
  `;
  return new Promise((settle, reject) => {
    const args = ['--input-type=module', '-e', script, JSON.stringify(commands)];
    execFile(process.execPath, args, (error, stdout) => {
      if (error !== null) reject(error);
      const parts = stdout.split(/\n=== ([0-9]+)\n/);
      settle(commands.map((_, i) => ({ text: parts[2 * i], status: Number(parts[2 * i + 1]) })));
    });
  });
}

test('a key is made, shown and rolled; what comes too early is refused with the time', async () => {
  const config = readFileSync(join(import.meta.dirname, '../../examples/two-sites.yaml'), 'utf8');
  const zone = /^ {4}([a-z.-]+):$\n(?= {6}(nameServers|dnssec|ttl|soa))/m.exec(config)?.[1];
  assert.ok(zone !== undefined);
  const signed = config.replace(/^dns:$/m, `dns:\n  dnssec: { keys: ${folder}/keys }`);
  writeFileSync(file, signed.replace(`    ${zone}:\n`, `    ${zone}:\n      dnssec: true\n`));
  const [missing, made, again, shown, started, early, switched, retiring, withdrawn, empty] = await portico(
    ['status', file, zone],
    ['generate', file, `${zone.toUpperCase()}.`],
    ['generate', file, zone],
    ['show', file, zone],
    ['start', file, zone],
    ['switch', file, zone],
    ['switch', file, zone, '--force', '--json'],
    ['ds', file, zone],
    ['withdraw', file, zone],
    ['show', file, zone],
  );
  assert.equal(missing.status, 1);
  assert.match(missing.text, /there is no such file; portico dnssec generate FILE .* makes it/);
  assert.equal(made.status, 0, made.text);
  assert.match(made.text, /steady since .*\n {2}signs with key [0-9]+\n {2}wait until: .*Z/);
  assert.equal(statSync(`${folder}/keys/${zone}.keys.json`).mode & 0o777, 0o600);
  assert.match(again.text, /has a key file already/);
  assert.match(shown.text, new RegExp(`^${zone}\\. 86400 IN DS [0-9]+ 13 2 [0-9a-f]{64}$`, 'm'));
  assert.match(shown.text, new RegExp(`^${zone}\\. IN DNSKEY 257 3 13 `, 'm'));
  assert.match(started.text, /published since .*beside key/s);
  assert.equal(early.status, 1);
  assert.match(early.text, /wait until [0-9T:.-]+Z/);
  const told = JSON.parse(switched.text) as Record<string, unknown>;
  assert.equal(told.step, 'switched');
  assert.equal((told.ds as string[]).length, 1);
  assert.match(retiring.text, /retiring/);
  assert.match(withdrawn.text, /CDS asks the parent/);
  assert.match(empty.text, /no DS record/);
});

test('wrong use is told', async () => {
  const [unknown, nowhere] = await portico(['roll', file], ['show', file, 'nowhere.test']);
  assert.match(unknown.text, /"roll" is none of generate, show/);
  assert.match(nowhere.text, /has no zone nowhere\.test/);
});
