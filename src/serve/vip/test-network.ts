/** For tests: two namespaces joined by a veth pair, and what is needed to see packets go. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import koffi from 'koffi';
import { type Address, parseAddress } from '../../net/address.ts';
import { createXdpLink } from './bpf.ts';
import { check, closeFd, makeSocket } from './libc.ts';
import { inNamespace, interfaceIndexIn } from './netns.ts';
import { BpfObject } from './object.ts';

const OBJECTS = join(import.meta.dirname, '../../../build/bpf');

/** A reason to skip tests that load programs; false: run them. */
export const cannotLoad: string | false =
  process.getuid?.() !== 0
    ? 'needs root'
    : !existsSync(join(OBJECTS, 'balancer.bpf.o'))
      ? 'needs the compiled programs (scripts/build-bpf.sh)'
      : false;

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(`${text} is no address`);
  return parsed;
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

export interface TestNetwork {
  /** Where packets come from: 10.77.0.1/24, fd77::1/64 on `near0`. */
  readonly near: string;
  /** Where programs are attached: 10.77.0.2/24, fd77::2/64 on `far0`. */
  readonly far: string;
  readonly nearMac: Uint8Array;
  readonly farMac: Uint8Array;
  readonly farIfindex: number;
  /** Packets that came back on `near0`. */
  countReceived(): number;
  remove(): void;
}

function macOf(namespace: string, name: string): Uint8Array {
  const text = execFileSync('ip', ['-j', '-n', namespace, 'link', 'show', 'dev', name], { encoding: 'utf8' });
  return Uint8Array.from((JSON.parse(text)[0].address as string).split(':'), (part) => Number.parseInt(part, 16));
}

/** `label` and the process id name the namespaces. */
export function makeNetwork(label: string): TestNetwork {
  const [near, far] = ['n', 'f'].map((end) => `${label}-${process.pid}-${end}`);
  const object = new BpfObject(join(OBJECTS, 'pass.bpf.o'));
  const remove = () => {
    object.close();
    for (const name of [near, far]) if (existsSync(`/var/run/netns/${name}`)) ip('netns', 'del', name);
  };
  try {
    for (const name of [near, far]) {
      ip('netns', 'add', name);
      ip('-n', name, 'link', 'set', 'lo', 'up');
    }
    ip('link', 'add', 'near0', 'netns', near, 'type', 'veth', 'peer', 'name', 'far0', 'netns', far);
    for (const [name, device, end] of [
      [near, 'near0', 1],
      [far, 'far0', 2],
    ] as const) {
      ip('-n', name, 'addr', 'add', `10.77.0.${end}/24`, 'dev', device);
      ip('-n', name, 'addr', 'add', `fd77::${end}/64`, 'dev', device, 'nodad');
      ip('-n', name, 'link', 'set', device, 'up');
    }
    ip('-n', near, 'route', 'add', '192.0.2.0/24', 'via', '10.77.0.2');
    // Frames that a program sends back over a veth are delivered only when the other end has a program too.
    object.load();
    const link = inNamespace(near, () =>
      createXdpLink(object.programFd('pass'), interfaceIndexIn(null, 'near0'), 'native'),
    );
    return {
      near,
      far,
      nearMac: macOf(near, 'near0'),
      farMac: macOf(far, 'far0'),
      farIfindex: interfaceIndexIn(far, 'far0'),
      countReceived: () =>
        inNamespace(near, () => {
          const line = readFileSync('/proc/thread-self/net/dev', 'utf8')
            .split('\n')
            .find((text) => text.includes('near0:'));
          return Number(line?.trim().split(/\s+/)[2]);
        }),
      remove: () => {
        closeFd(link);
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

const sendto = koffi
  .load('libc.so.6')
  .func('long sendto(int fd, void *data, size_t length, int flags, void *address, uint32_t addressLength)');

/** Sends an IPv4 packet of any protocol from inside a namespace: `payload` is what follows the IP header. */
export function sendRaw(
  namespace: string,
  protocol: number,
  payload: Uint8Array,
  destination: readonly number[],
): void {
  const [family, raw] = [2, 3]; // AF_INET, SOCK_RAW
  const to = new Uint8Array(16);
  to[0] = family;
  to.set(destination, 4);
  inNamespace(namespace, () => {
    const fd = makeSocket(family, raw, protocol);
    check(sendto(fd, payload, payload.length, 0, to, to.length), 'send a raw packet');
    closeFd(fd);
  });
}

/** Waits until `holds`, at most `limitMs`. */
export async function until(holds: () => boolean, what: string, limitMs = 5000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await sleep(5);
  }
}

/** Names of an instance's pins, sorted. */
export function pinsOf(name: string): string[] {
  const folder = `/sys/fs/bpf/portico/${name}`;
  return existsSync(folder) ? execFileSync('ls', [folder], { encoding: 'utf8' }).trim().split('\n').sort() : [];
}
