/** The lab's network: reachability, delay, BGP and equal-cost paths, what dies and comes back. Needs root. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Announcer } from '../../src/announce/bird.ts';
import { openAnnouncer } from '../../src/announce/bird.ts';
import type { Lab } from '../../src/lab/build.ts';
import { startLab } from '../../src/lab/build.ts';
import { exampleConfig, place } from './lab-config.ts';

const DELAY_MS = 20;
const config = exampleConfig();
const vips = config.services.get('www')!.vips.get('eu')!;
const VIP4 = '192.0.2.10';
const VIP6 = '2001:db8:1::10';
const announcers = new Map<string, Announcer>();
let lab: Lab;
let upMs: number;

before(async () => {
  const startedAt = performance.now();
  lab = await startLab({ config, place, delayMs: DELAY_MS });
  upMs = performance.now() - startedAt;
});
after(async () => {
  await lab?.stop();
});

/** Polls until the condition holds; returns the time that took, in ms. */
async function until(what: string, limitMs: number, holds: () => Promise<boolean>): Promise<number> {
  const startedAt = performance.now();
  for (;;) {
    if (await holds()) return performance.now() - startedAt;
    if (performance.now() - startedAt > limitMs) assert.fail(`${what}: not within ${limitMs} ms`);
    await sleep(5);
  }
}

async function routeTo(machine: string, destination: string): Promise<string> {
  const family = destination.includes(':') ? '-6' : '-4';
  return lab.run(machine, ['ip', family, 'route', 'show', destination]);
}

async function startAnnouncer(name: string): Promise<Announcer> {
  const { netns } = lab.machines.get(name)!;
  const folder = join(lab.folderOf(name), 'bird');
  const announcer = await openAnnouncer({ speaker: config.balancers.get(name)!, netns, folder });
  announcers.set(name, announcer);
  return announcer;
}

/** Resolves when the router of the site sends packets of both VIPs to these balancers and no other. */
function untilSpreadOver(names: readonly string[], limitMs = 3000): Promise<number> {
  const others = ['eu-b1', 'eu-b2'].filter((name) => !names.includes(name));
  return until(`VIPs go to ${names.join(', ') || 'nobody'}`, limitMs, async () => {
    for (const vip of [VIP4, VIP6]) {
      const route = await routeTo('router-eu', vip);
      if (!names.every((name) => route.includes(`dev ${name} `))) return false;
      if (others.some((name) => route.includes(`dev ${name} `))) return false;
    }
    return true;
  });
}

async function ping(from: string, to: string): Promise<number> {
  const text = await lab.run(from, ['ping', '-n', '-q', '-c', '5', '-i', '0.02', '-W', '2', to]);
  return Number(/= ([\d.]+)\//.exec(text)?.[1]);
}

test('the lab is up within ten seconds', () => {
  assert.ok(upMs < 10_000, `${Math.round(upMs)} ms`);
});

test('a far machine is two delays away, a near one is not, over IPv4 and IPv6', async () => {
  const near = lab.machines.get('eu-1')!;
  const far = lab.machines.get('us-1')!;
  for (const [to, expectedMs] of [
    [near.ipv4, 0],
    [near.ipv6, 0],
    [far.ipv4, 2 * DELAY_MS],
    [far.ipv6, 2 * DELAY_MS],
  ] as const) {
    const minMs = await ping('client-eu', to);
    assert.ok(minMs >= expectedMs && minMs < expectedMs + 5, `${to}: ${minMs} ms`);
  }
});

test('every machine is reached from both clients', async () => {
  const machines = [...lab.machines.values()].filter((machine) => machine.role !== 'prober');
  const unreached: string[] = [];
  for (const client of lab.machinesOf('client')) {
    await Promise.all(
      machines.flatMap((machine) =>
        [machine.ipv4, machine.ipv6].map((address) =>
          lab.run(client.name, ['ping', '-n', '-q', '-c', '1', '-W', '2', address]).catch(() => {
            unreached.push(`${machine.name} ${address} from ${client.name}`);
          }),
        ),
      ),
    );
  }
  assert.deepEqual(unreached, []);
});

test('a web server says its name, its site and the address that was asked', async () => {
  const { ipv4, ipv6 } = lab.machines.get('us-3')!;
  assert.equal(await lab.run('client-us', ['curl', '-s', `http://${ipv4}/`]), `us-3 us ${ipv4}\n`);
  assert.equal(await lab.run('client-eu', ['curl', '-s', `http://[${ipv6}]/any`]), `us-3 us ${ipv6}\n`);
  const head = await lab.run('client-us', ['curl', '-s', '-i', `http://${ipv4}/healthz`]);
  assert.match(head, /^HTTP\/1.1 200 OK\r\n/);
  assert.match(head, /^X-Backend: us-3\r$/m);
  assert.match(head, /^ok$/m);
});

test('a packet of 1,500 bytes fits with GRE around it inside a site', async () => {
  // 1,600 bytes with the IPv4 and ICMP headers, and not to be fragmented.
  const args = ['-n', '-q', '-c', '1', '-W', '1', '-M', 'do', '-s', '1572'];
  await lab.run('eu-b1', ['ping', ...args, lab.machines.get('eu-2')!.ipv4]);
  await assert.rejects(lab.run('client-eu', ['ping', ...args, lab.machines.get('eu-2')!.ipv4]));
});

test('before anything is announced nobody knows the VIPs, but the probe prefix is routed to its balancer', async () => {
  await startAnnouncer('eu-b1');
  await startAnnouncer('eu-b2');
  await Promise.all([...announcers.values()].map((announcer) => announcer.untilEstablished(5000)));
  await until('the probe prefix is routed', 2000, async () =>
    (await routeTo('router-eu', '10.10.201.0/26')).includes('dev eu-b1'),
  );
  assert.ok((await ping('eu-1', '10.10.201.7')) < 5);
  assert.equal(await routeTo('router-eu', VIP4), '');
  assert.equal(await routeTo('core-eu', '10.10.201.0/26'), '', 'the internet knows no probe prefix');
});

test('announced VIPs are spread over both balancers and known in the other region', async () => {
  await Promise.all([...announcers.values()].map((announcer) => announcer.setAnnounced(vips)));
  await untilSpreadOver(['eu-b1', 'eu-b2']);
  for (const vip of [VIP4, VIP6]) {
    await until(`core-us knows ${vip}`, 2000, async () => (await routeTo('core-us', vip)).includes('dev wan-eu'));
  }
});

test('the router spreads flows evenly over the balancers, and keeps a flow where it is', async () => {
  const ask = async (): Promise<string[]> => {
    const lines = Array.from(
      { length: 400 },
      (_, i) => `route get ${VIP4} from 203.0.113.${1 + (i % 100)} iif uplink ipproto tcp sport ${40000 + i} dport 80`,
    );
    const text = await lab.run('router-eu', ['sh', '-c', `ip -o -batch - <<'END'\n${lines.join('\n')}\nEND`]);
    return [...text.matchAll(/dev (eu-b\d)/g)].map((match) => match[1]);
  };
  const first = await ask();
  assert.equal(first.length, 400);
  const share = first.filter((name) => name === 'eu-b1').length;
  assert.ok(share > 150 && share < 250, `${share} of 400 go to eu-b1`);
  assert.deepEqual(await ask(), first);
});

test('a drained balancer gets no flows while another is there, and gets them when it is the only one', async () => {
  await announcers.get('eu-b1')!.setDrained(true);
  await untilSpreadOver(['eu-b2']);
  await announcers.get('eu-b2')!.withdraw();
  await untilSpreadOver(['eu-b1']);
  await announcers.get('eu-b2')!.setAnnounced(vips);
  await announcers.get('eu-b1')!.setDrained(false);
  await untilSpreadOver(['eu-b1', 'eu-b2']);
});

test('a change of the announcement keeps the session up', async () => {
  const { netns } = lab.machines.get('eu-b1')!;
  const since = async (): Promise<string> => {
    const socket = join(lab.folderOf('eu-b1'), 'bird', 'bird.ctl');
    const text = await lab.run('eu-b1', ['birdc', '-s', socket, 'show', 'protocols', 'portico_router1']);
    return /up +(\S+) +Established/.exec(text)?.[1] ?? `no session in ${netns}`;
  };
  const before = await since();
  await announcers.get('eu-b1')!.setAnnounced([]);
  await untilSpreadOver(['eu-b2']);
  await announcers.get('eu-b1')!.setAnnounced(vips);
  await untilSpreadOver(['eu-b1', 'eu-b2']);
  assert.equal(await since(), before);
});

test('a process that starts anew takes over the BIRD that runs, with what it announces', async () => {
  const again = await startAnnouncer('eu-b1');
  assert.deepEqual(again.announcement.vips, vips);
  assert.equal(again.announcement.drained, false);
  await untilSpreadOver(['eu-b1', 'eu-b2']);
});

test('a configuration that BIRD refuses is reported in its words and changes nothing', async () => {
  const announcer = announcers.get('eu-b1')!;
  const wrong = { address: { family: 4, bytes: new Uint8Array([1, 2, 3]) }, length: 32 } as const;
  await assert.rejects(announcer.setAnnounced([...vips, wrong]), /eu-b1: cannot announce: BIRD refuses .*syntax error/);
  assert.deepEqual(announcer.announcement.vips, vips);
  await untilSpreadOver(['eu-b1', 'eu-b2']);
  await announcer.setAnnounced(vips);
});

test('a killed balancer leaves the set within a second, and is back after its restart', async () => {
  await lab.killBalancer('eu-b2');
  const goneMs = await untilSpreadOver(['eu-b1']);
  assert.ok(goneMs < 1000, `${goneMs} ms`);
  assert.equal(announcers.get('eu-b2')!.isRunning(), false);
  await lab.restoreBalancer('eu-b2');
  const announcer = await startAnnouncer('eu-b2');
  assert.deepEqual(announcer.announcement.vips, [], 'what the dead one announced is forgotten');
  await announcer.setAnnounced(vips);
  await untilSpreadOver(['eu-b1', 'eu-b2'], 8000);
});

test('a balancer that falls silent is found out by BFD within a second', async () => {
  const pid = Number(await lab.run('eu-b2', ['sh', '-c', `cut -d" " -f1 ${lab.folderOf('eu-b2')}/bird/bird.pid`]));
  process.kill(pid, 'SIGSTOP');
  try {
    const goneMs = await untilSpreadOver(['eu-b1']);
    assert.ok(goneMs < 1000, `${goneMs} ms`);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await untilSpreadOver(['eu-b1', 'eu-b2'], 15_000);
});

test('an announcer that is stopped withdraws everything at once and ends only its own BIRD', async () => {
  await announcers.get('eu-b2')!.stop();
  const goneMs = await untilSpreadOver(['eu-b1']);
  assert.ok(goneMs < 1000, `${goneMs} ms`);
  assert.equal(announcers.get('eu-b1')!.isRunning(), true);
});

test('a lost site is unreachable from outside while all goes on inside, and comes back', async () => {
  const backend = lab.machines.get('eu-1')!.ipv4;
  await lab.loseSite('eu');
  await until('core-us forgets the VIP', 1000, async () => (await routeTo('core-us', VIP4)) === '');
  await assert.rejects(lab.run('client-us', ['curl', '-s', '-m', '1', `http://${backend}/`]));
  assert.match(await lab.run('eu-b1', ['curl', '-s', '-m', '1', `http://${backend}/`]), /^eu-1/);
  await lab.restoreSite('eu');
  assert.match(await lab.run('client-us', ['curl', '-s', '-m', '2', `http://${backend}/`]), /^eu-1/);
  await until('core-us knows the VIP', 8000, async () => (await routeTo('core-us', VIP6)).includes('dev wan-eu'));
  await until('core-us knows the VIP', 8000, async () => (await routeTo('core-us', VIP4)).includes('dev wan-eu'));
});

test('a killed backend answers nothing, and answers again after it is restored', async () => {
  const { ipv4, ipv6 } = lab.machines.get('eu-2')!;
  await lab.killBackend('eu-2');
  await assert.rejects(lab.run('client-eu', ['curl', '-s', '-m', '1', `http://${ipv4}/`]));
  await lab.restoreBackend('eu-2');
  // The router may still take the neighbour for dead: the first SYN is lost then, and the next follows after a second.
  assert.match(await lab.run('client-eu', ['curl', '-s', '-m', '5', `http://${ipv4}/`]), /^eu-2/);
  assert.match(await lab.run('client-us', ['curl', '-s', '-m', '5', `http://[${ipv6}]/`]), /^eu-2/);
});

test('a machine that is not there, or is something else, is named with those that are', async () => {
  await assert.rejects(lab.killBackend('eu-9'), /no backend eu-9; there are eu-1, eu-2, eu-3, us-1/);
  await assert.rejects(lab.killBalancer('eu-1'), /no balancer eu-1; there are eu-b1, eu-b2/);
});
