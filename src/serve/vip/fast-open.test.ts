import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { FastOpen, fastOpenKey } from './fast-open.ts';
import { setSocketOption } from './libc.ts';
import { inNamespace, openTcpListener, openTcpSocket } from './netns.ts';
import { address } from './test-network.ts';

const VIP = '192.0.2.10';
const PORT = 8080;
const IPPROTO_TCP = 6;
const TCP_FASTOPEN = 23;
const TCP_FASTOPEN_CONNECT = 30;
const HASH_KEY = Uint8Array.from({ length: 16 }, (_, i) => i);

const name = (part: string) => `fast-open-${process.pid}-${part}`;
const [CLIENT, FIRST, SECOND] = ['c', '1', '2'].map(name);
const ip = (...args: string[]) => execFileSync('ip', args);
const write = (namespace: string, key: string, value: string) =>
  inNamespace(namespace, () => execFileSync('sysctl', ['-qw', `${key}=${value}`]));

describe('TCP Fast Open', { skip: process.getuid?.() !== 0 ? 'needs root' : false }, () => {
  const open: (Server | Socket)[] = [];

  before(async () => {
    for (const namespace of [CLIENT, FIRST, SECOND]) {
      ip('netns', 'add', namespace);
      ip('-n', namespace, 'link', 'set', 'lo', 'up');
    }
    for (const [i, backend] of [FIRST, SECOND].entries()) {
      ip('link', 'add', `b${i}`, 'netns', CLIENT, 'type', 'veth', 'peer', 'name', 'c0', 'netns', backend);
      ip('-n', CLIENT, 'addr', 'add', `10.88.${i}.1/24`, 'dev', `b${i}`);
      ip('-n', backend, 'addr', 'add', `10.88.${i}.2/24`, 'dev', 'c0');
      ip('-n', backend, 'addr', 'add', `${VIP}/32`, 'dev', 'lo');
      ip('-n', CLIENT, 'link', 'set', `b${i}`, 'up');
      ip('-n', backend, 'link', 'set', 'c0', 'up');
      ip('-n', backend, 'route', 'add', 'default', 'via', `10.88.${i}.1`);
      new FastOpen(backend).set(fastOpenKey(HASH_KEY, 'eu'));
      const fd = openTcpListener(backend, address(VIP), PORT);
      setSocketOption(fd, IPPROTO_TCP, TCP_FASTOPEN, 16, 'TCP_FASTOPEN');
      const server = createServer((socket) => open.push(socket.on('error', () => {}).resume()));
      server.listen({ fd });
      open.push(server);
    }
    ip('-n', CLIENT, 'addr', 'add', '203.0.113.7/32', 'dev', 'lo');
    write(CLIENT, 'net.ipv4.tcp_fastopen', '1');
  });
  after(() => {
    for (const one of open) 'destroy' in one ? one.destroy() : one.close();
    for (const namespace of [CLIENT, FIRST, SECOND]) ip('netns', 'del', namespace);
  });

  /** A connection of the client to the VIP by one of the backends, with its first data. */
  async function visit(backend: number): Promise<void> {
    ip('-n', CLIENT, 'route', 'replace', `${VIP}/32`, 'via', `10.88.${backend}.2`);
    const fd = openTcpSocket(CLIENT, address('203.0.113.7'), { bind: true });
    setSocketOption(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1, 'TCP_FASTOPEN_CONNECT');
    const socket = connect({ fd, host: VIP, port: PORT } as never);
    open.push(socket.on('error', () => {}));
    await once(socket, 'connect');
    socket.end('a request');
    await once(socket.resume(), 'close');
  }

  /** Connections whose SYN brought a good cookie, and data. */
  function opened(namespace: string): number {
    const [names, values] = inNamespace(namespace, () => readFileSync('/proc/net/netstat', 'utf8')).split('\n');
    return Number(values.split(' ')[names.split(' ').indexOf('TCPFastOpenPassive')]);
  }

  test('a cookie that one backend gave is taken by another', async () => {
    for (const backend of [FIRST, SECOND])
      ip('-n', backend, 'route', 'replace', '203.0.113.7/32', 'via', `10.88.${[FIRST, SECOND].indexOf(backend)}.1`);
    await visit(0);
    assert.deepEqual([opened(FIRST), opened(SECOND)], [0, 0], 'the first connection asks for a cookie');
    await visit(0);
    assert.deepEqual([opened(FIRST), opened(SECOND)], [1, 0]);
    await visit(1);
    assert.deepEqual([opened(FIRST), opened(SECOND)], [1, 1]);
  });

  test('with another key it is not', async () => {
    new FastOpen(SECOND).set(fastOpenKey(HASH_KEY, 'us'));
    const before = opened(SECOND);
    await visit(1);
    assert.equal(opened(SECOND), before);
  });

  test('what was set before is put back', () => {
    const read = () => inNamespace(CLIENT, () => readFileSync('/proc/sys/net/ipv4/tcp_fastopen', 'utf8').trim());
    const settings = new FastOpen(CLIENT);
    settings.set(fastOpenKey(HASH_KEY, 'eu'));
    assert.equal(read(), '3');
    settings.set(null);
    assert.equal(read(), '1');
  });
});

test('the key is the same on every machine of a site, another at each site, and not the hash key', () => {
  assert.equal(fastOpenKey(HASH_KEY, 'eu'), fastOpenKey(HASH_KEY.slice(), 'eu'));
  assert.notEqual(fastOpenKey(HASH_KEY, 'eu'), fastOpenKey(HASH_KEY, 'us'));
  assert.match(fastOpenKey(HASH_KEY, 'eu'), /^([0-9a-f]{8}-){3}[0-9a-f]{8}$/);
});
