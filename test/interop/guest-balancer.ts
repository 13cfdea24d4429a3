/**
 * Runs inside the virtual machine: a balancer on the given interfaces, until it is ended. Prints one line of JSON once packets are
 * forwarded. Arguments: interfaces with commas, outer source, then pairs of a VIP and the address of its one backend.
 */
import { parseAddress } from '../../src/net/address.ts';
import { openForwarder } from '../../src/serve/vip/forwarder.ts';
import { resolveNextHop } from '../../src/serve/vip/next-hop.ts';

const [interfaces, ...texts] = process.argv.slice(2);
const [source, ...pairs] = texts.map((text) => {
  const address = parseAddress(text);
  if (address === null) throw new Error(`${text} is no address`);
  return address;
});
const SLOTS = 7;
const forwarder = openForwarder({
  name: null,
  netns: null,
  interfaces: interfaces.split(','),
  probeInterface: null,
  addresses: [source],
  buckets: 2,
  hashKey: new Uint8Array(16).fill(7),
});
const ways = [];
for (let i = 0; i < pairs.length; i += 2) {
  const [vip, backend] = [pairs[i], pairs[i + 1]];
  const [index, subject] = [1 + i, 1 + i];
  const nextHop = await resolveNextHop(null, backend);
  forwarder.setBackend(index, { address: backend, nextHop, alive: true, agent: false, forwarding: null });
  forwarder.setVip(vip, subject, 1);
  const table = forwarder.createTable(subject + 1, SLOTS);
  for (let slot = 0; slot < SLOTS; slot++) table.write(slot, index, 0, 0, false);
  const limits = { lifetimeTicks: 100, newPerSecond: 1000, shareEntries: 1000 };
  forwarder.setService(
    { vip: subject, port: 80, protocol: 'tcp' },
    { subject: subject + 1, slots: SLOTS, forwarding: 'gre', ...limits },
  );
  ways.push({ by: nextHop.interfaceName, vlan: nextHop.vlan ?? null });
}
const attachments = forwarder.attachments.map(({ interfaceName, mode, note }) => ({ interfaceName, mode, note }));
process.stdout.write(`${JSON.stringify({ attachments, ways })}\n`);
setInterval(() => {}, 1_000_000);
