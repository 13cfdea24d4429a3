/**
 * Runs inside the virtual machine: a balancer on the given interface with one backend, until it is ended. Prints one line of
 * JSON once packets are forwarded. Arguments: interface, VIP, address of the backend, outer source.
 */
import { parseAddress } from '../../src/net/address.ts';
import { openForwarder } from '../../src/serve/vip/forwarder.ts';
import { resolveNextHop } from '../../src/serve/vip/next-hop.ts';

const [interfaceName, ...texts] = process.argv.slice(2);
const [vip, backend, source] = texts.map((text) => {
  const address = parseAddress(text);
  if (address === null) throw new Error(`${text} is no address`);
  return address;
});
const SLOTS = 7;
const forwarder = openForwarder({
  name: null,
  netns: null,
  interfaces: [interfaceName],
  probeInterface: null,
  addresses: [source],
  buckets: 2,
  hashKey: new Uint8Array(16).fill(7),
});
const nextHop = await resolveNextHop(null, backend);
forwarder.setBackend(1, { address: backend, nextHop, alive: true, agent: false, forwarding: null });
forwarder.setVip(vip, 1, 1);
const table = forwarder.createTable(2, SLOTS);
for (let slot = 0; slot < SLOTS; slot++) table.write(slot, 1, 0, 0, false);
forwarder.setService(
  { vip: 1, port: 80, protocol: 'tcp' },
  { subject: 2, slots: SLOTS, forwarding: 'gre', lifetimeTicks: 100, newPerSecond: 1000, shareEntries: 1000 },
);
const { mode, note } = forwarder.attachments[0];
process.stdout.write(`${JSON.stringify({ mode, note, egress: nextHop.interfaceName, vlan: nextHop.vlan ?? null })}\n`);
setInterval(() => {}, 1_000_000);
