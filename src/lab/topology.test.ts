import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config/model.ts';
import { parseConfig } from '../config/parse.ts';
import { interfaceLines, linkLines, machineLines, settingsOf } from './commands.ts';
import { renderRouterConfig } from './router-bird.ts';
import { planLab } from './topology.ts';

function example(): Config {
  const path = fileURLToPath(new URL('../../examples/two-sites.yaml', import.meta.url));
  const parsed = parseConfig(readFileSync(path, 'utf8'), path);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

const config = example();
const plan = planLab(config, 'pt-');

test('every machine of the configuration is there once, with the addresses that it gives', () => {
  for (const backend of config.backends.keys()) assert.equal(plan.machines.get(backend)?.role, 'backend');
  assert.equal(plan.machines.get('eu-b1')?.ipv4, '10.10.1.1');
  assert.equal(plan.machines.get('eu-b1')?.ipv6, 'fd00:10::1:1');
  assert.equal(plan.machines.get('router-us')?.ipv4, '10.20.0.1');
  assert.equal(plan.machines.get('ns1')?.ipv4, '10.53.0.1');
  assert.equal(plan.machines.get('us-1')?.netns, 'pt-us-1');
});

test('no two machines share an address', () => {
  const addresses = [...plan.machines.values()].flatMap((machine) => [machine.ipv4, machine.ipv6]);
  assert.equal(new Set(addresses).size, addresses.length);
});

test('links agree from both ends, and interface names fit the kernel and are unique in their machine', () => {
  for (const machine of plan.machines.values()) {
    const names = machine.interfaces.map((own) => own.name);
    assert.equal(new Set(names).size, names.length);
    for (const own of machine.interfaces) {
      assert.ok(own.name.length <= 15, own.name);
      const back = plan.machines.get(own.peer.machine)?.interfaces.find((one) => one.name === own.peer.interface);
      assert.deepEqual(back?.peer, { machine: machine.name, interface: own.name });
      assert.equal(back?.mtuBytes, own.mtuBytes);
    }
  }
});

test('each veth pair is made once', () => {
  const ends = [...plan.machines.values()].flatMap((machine) =>
    machine.interfaces.filter((own) => own.kind === 'veth'),
  );
  assert.equal(linkLines(plan).length * 2, ends.length);
});

test('the far ends of interfaces that carry Portico pass frames that its programs send', () => {
  for (const machine of plan.machines.values()) {
    for (const own of machine.interfaces) {
      const peer = plan.machines.get(own.peer.machine)!;
      const sends =
        peer.role === 'backend' ||
        peer.role === 'nameserver' ||
        (peer.role === 'balancer' && ['eth0', 'probe0'].includes(own.peer.interface));
      assert.equal(own.needsXdpPass, sends, `${machine.name} ${own.name}`);
    }
  }
});

test('the prober of a balancer owns the probe prefix, which its balancer routes to it', () => {
  const prober = plan.machines.get('probe-eu-b2')!;
  assert.deepEqual(prober.ownPrefixes, ['10.10.202.0/26']);
  assert.ok(machineLines(plan, prober).includes('route replace local 10.10.202.0/26 dev lo'));
  const balancer = plan.machines.get('eu-b2')!;
  const own = balancer.interfaces.find((one) => one.name === 'probe0')!;
  assert.ok(
    interfaceLines(plan, balancer, own).includes(
      'route replace 10.10.202.0/26 via 10.10.202.1 dev probe0 src 10.10.1.2',
    ),
  );
});

test('only cores, routers and balancers forward', () => {
  for (const machine of plan.machines.values()) {
    const forwards = ['core', 'router', 'balancer'].includes(machine.role);
    assert.equal(settingsOf(machine).get('net/ipv4/ip_forward'), forwards ? '1' : '0', machine.name);
  }
});

test('a router talks BGP to its balancers and its core, and sends balancers nothing', () => {
  const text = renderRouterConfig(plan, plan.machines.get('router-eu')!);
  assert.deepEqual(text.match(/protocol bgp \S+/g), [
    'protocol bgp to_eu_b1',
    'protocol bgp to_eu_b2',
    'protocol bgp to_core_eu',
  ]);
  assert.equal(text.match(/export none/g)?.length, 4);
});

test('three sites are joined by three lines, four sites are refused', () => {
  const sites = (count: number) => {
    const names = Array.from({ length: count }, (_, index) => `s${index}`);
    const first = [...config.sites.values()][0];
    const none = new Map();
    return {
      ...config,
      balancers: none,
      backends: none,
      sites: new Map(names.map((name) => [name, { ...first, name }])),
    };
  };
  assert.equal(planLab(sites(3), 'pt-').delayLines.length, 3);
  assert.throws(() => planLab(sites(4), 'pt-'), /at most 3 sites, not 4/);
});

test('a name that the lab uses itself is refused for a machine', () => {
  const backend = { ...config.backends.get('eu-1')!, name: 'resolver' };
  const backends = new Map([...config.backends, ['resolver', backend]]);
  assert.throws(() => planLab({ ...config, backends }, 'pt-'), /two machines are named resolver/);
});

test('where services go without tunnels, balancers and those backends share a switch, and by nat answers pass a balancer', () => {
  const services = new Map([...config.services].map(([name, one]) => [name, { ...one, forwarding: 'l2' as const }]));
  const backends = new Map([...config.backends].map(([name, one]) => [name, one]));
  backends.set('eu-2', { ...backends.get('eu-2')!, forwarding: 'nat' });
  backends.set('eu-3', { ...backends.get('eu-3')!, forwarding: 'gre' });
  const bare = planLab({ ...config, services, backends }, 'pt-');
  const hub = bare.machines.get('switch-eu')!;
  assert.deepEqual(hub.interfaces.map(({ name }) => name).sort(), ['eu-1', 'eu-2', 'eu-b1', 'eu-b2']);
  const lines = (name: string) => machineLines(bare, bare.machines.get(name)!);
  assert.ok(lines('switch-eu').includes('link set dev eu-1 mtu 1700 master br0'));
  assert.ok(lines('eu-b1').includes('route replace 10.10.2.1/32 dev lan0 src 10.10.1.1'));
  assert.ok(lines('eu-2').includes('route replace 10.10.202.0/26 via 10.10.1.2 dev lan0 src 10.10.2.2'));
  assert.ok(!lines('eu-1').some((line) => line.includes('10.10.202.0/26')));
  assert.ok(lines('eu-1').some((line) => line.startsWith('route replace default via 10.10.0.1 dev eth0')));
  const defaults = lines('eu-2').filter((line) => / (default|::\/0) /.test(line));
  assert.deepEqual(defaults, [
    'route replace default src 10.10.2.2 nexthop via 10.10.1.1 dev lan0 nexthop via 10.10.1.2 dev lan0',
    `route replace ::/0 src ${bare.machines.get('eu-2')!.ipv6} nexthop via fd00:10::1:1 dev lan0 nexthop via fd00:10::1:2 dev lan0`,
  ]);
  assert.ok(!lines('eu-3').some((line) => line.includes('lan0')));
});
