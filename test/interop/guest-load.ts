/**
 * Runs inside the virtual machine: loads the compiled kernel programs but the balancer's, which another script loads, and prints one
 * line of JSON: "loaded" or why not, by file.
 */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { BpfObject } from '../../src/serve/vip/object.ts';

const objects = join(import.meta.dirname, '../../build/bpf');
/** And not the bench's programs, which are not for production. */
const LEFT_OUT = ['balancer.bpf.o', 'classic.bpf.o', 'vip.bpf.o', 'veth.bpf.o', 'scale.bpf.o', 'dns-turn.bpf.o'];

const results: Record<string, string> = {};
for (const name of globSync('*.bpf.o', { cwd: objects }).sort()) {
  if (LEFT_OUT.includes(name)) continue;
  const object = new BpfObject(join(objects, name));
  try {
    object.load();
    results[name] = 'loaded';
  } catch (error) {
    results[name] = (error as Error).message;
  } finally {
    object.close();
  }
}
process.stdout.write(`${JSON.stringify(results)}\n`);
setInterval(() => {}, 1_000_000);
