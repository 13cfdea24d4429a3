/** A machine with Debian's stock kernel and its own tunnel devices is a backend of every mode that such devices take. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ForwardingMode } from '../../src/config/model.ts';
import { OUTCOME } from '../../src/serve/vip/layout.gen.ts';
import { type Bed, MACHINE4, MACHINE6, makeBed, OWN4, OWN6, VIP4, VIP6 } from './bed.ts';
import { cannotRunMachine } from './image.ts';

/** More than one packet in each direction, and a pattern that a lost piece would show in. */
const BODY_BYTES = 200_000;

/** Devices without a remote end take packets from any balancer. Names: the outer family stands last. */
const DEVICES = [
  `/bin/ip link add gre4 type gre local ${MACHINE4}`,
  `/bin/ip link add gre6 type ip6gre local ${MACHINE6}`,
  `/bin/ip link add ipip4 type ipip local ${MACHINE4}`,
  `/bin/ip link add sit4 type sit local ${MACHINE4}`,
  `/bin/ip link add any6 type ip6tnl local ${MACHINE6} mode any`,
  '/bin/ip fou add port 6080 gue',
  '/bin/ip fou add port 6080 gue -6',
  'for device in gre4 gre6 ipip4 sit4 any6; do /bin/ip link set $device up || exit 1; done',
];

async function setUpMachine({ guest }: Bed): Promise<void> {
  const commands = [
    'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done',
    `/bin/ip addr add ${MACHINE4}/24 dev eth0`,
    `/bin/ip addr add ${MACHINE6}/64 dev eth0 nodad`,
    '/bin/ip link set eth0 up mtu 1450',
    `/bin/ip route add default via ${OWN4}`,
    `/bin/ip -6 route add default via ${OWN6}`,
    `/bin/ip addr add ${VIP4}/32 dev lo`,
    `/bin/ip addr add ${VIP6}/128 dev lo`,
    ...DEVICES,
    `seq 1 100000 | head -c ${BODY_BYTES} > /www/numbers`,
    'httpd -p 80 -h /www',
  ];
  for (const command of commands) await guest.run(command);
}

describe('a stock kernel as backend', { skip: cannotRunMachine(), timeout: 300_000 }, () => {
  let bed: Bed;
  let expected: string;

  before(async () => {
    bed = await makeBed('interop', ['tap0']);
    await setUpMachine(bed);
    expected = Array.from({ length: 100_000 }, (_, i) => `${i + 1}\n`)
      .join('')
      .slice(0, BODY_BYTES);
  });
  after(() => bed?.close());

  async function assertServed(mode: ForwardingMode, vip: string, to: string): Promise<void> {
    await bed.forwardBy(mode, to);
    const settled = () => bed.forwarder.counters.read(vip === VIP4 ? 3 : 4).outcome[OUTCOME.SETTLED] as number;
    const before = settled();
    assert.equal(bed.fetch(vip, 'numbers'), expected);
    assert.ok(settled() > before, 'it came through the balancer');
  }

  for (const mode of ['gre', 'ipip', 'gue'] as const)
    for (const to of [MACHINE4, MACHINE6])
      for (const vip of [VIP4, VIP6])
        test(`${mode}: a client of ${vip} is served through a device on ${to}`, () => assertServed(mode, vip, to));

  for (const [vip, to] of [
    [VIP4, MACHINE4],
    [VIP6, MACHINE6],
  ] as const)
    test(`l2: a client of ${vip} is served without any device`, () => assertServed('l2', vip, to));
});
