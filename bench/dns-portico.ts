/** The server of ours that `dns.ts` measures, a process of its own: reads a configuration and answers until it is told to end. */
import { readFileSync } from 'node:fs';
import { parseConfig } from '../src/config/parse.ts';
import { CALM_VIEW } from '../src/decide/steer/nearest.ts';
import { createDnsServer } from '../src/serve/dns/server.ts';

const [file] = process.argv.slice(2);
const parsed = parseConfig(readFileSync(file, 'utf8'), file);
if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
const { config } = parsed;
const [nameServer] = config.nameServers.values();
const sockets = nameServer.listen.map(({ address, port }) => {
  const source = { family: address.family, address: address.bytes.join('.'), port };
  return { udp: source, tcp: source };
});
const server = createDnsServer({ config, sockets, steering: CALM_VIEW });
await server.start();
process.on('SIGTERM', async () => {
  process.stderr.write(`${JSON.stringify(server.counters)}\n`);
  await server.stop();
  process.exit(0);
});
