import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { Address } from '../../net/address.ts';
import { inNamespace, interfaceIndexIn, openTcpListener, openTcpSocket, openUdpSocket } from './netns.ts';

const root = process.getuid?.() === 0;
const name = `loader-netns-${process.pid}`;
const v4: Address = { family: 4, bytes: new Uint8Array([127, 0, 0, 1]) };
const v6: Address = { family: 6, bytes: new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]) };
const here = () => readlinkSync('/proc/thread-self/ns/net');

describe('network namespaces', { skip: root ? false : 'needs root' }, () => {
  before(() => {
    execFileSync('ip', ['netns', 'add', name]);
    execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  });
  after(() => {
    execFileSync('ip', ['netns', 'del', name]);
  });

  test('a function runs inside and the thread is back outside afterwards', () => {
    const home = here();
    const inside = inNamespace(name, here);
    assert.notEqual(inside, home);
    assert.equal(here(), home);
  });

  test('the thread is back when the function throws', () => {
    const home = here();
    assert.throws(
      () =>
        inNamespace(name, () => {
          throw new Error('inside');
        }),
      /inside/,
    );
    assert.equal(here(), home);
  });

  test('nested namespaces unwind one by one', () => {
    const home = here();
    inNamespace(name, () => {
      const inside = here();
      inNamespace(name, () => {});
      assert.equal(here(), inside);
    });
    assert.equal(here(), home);
  });

  test('a missing namespace is named in the error and leaves the thread where it was', () => {
    const home = here();
    assert.throws(() => inNamespace('loader-none', here), /open \/var\/run\/netns\/loader-none: ENOENT/);
    assert.equal(here(), home);
  });

  test('an asynchronous function is refused', () => {
    assert.throws(() => inNamespace(name, async () => {}), /must not be asynchronous/);
  });

  test('a child process that is started inside stays inside', async () => {
    const inside = inNamespace(name, here);
    const child = inNamespace(name, () => spawn('readlink', ['/proc/self/ns/net']));
    const [output] = await once(child.stdout, 'data');
    assert.equal(String(output).trim(), inside);
  });

  for (const address of [v4, v6]) {
    test(`a TCP server and client inside a namespace speak over descriptors, IPv${address.family}`, async () => {
      const server = createServer((socket) => socket.end('hello'));
      server.listen({ fd: openTcpListener(name, address, 8080) });
      await once(server, 'listening');
      const client = new Socket({ fd: openTcpSocket(name, address, { bind: true }) });
      client.connect({ host: address.family === 4 ? '127.0.0.1' : '::1', port: 8080 });
      const [data] = await once(client, 'data');
      assert.equal(String(data), 'hello');
      client.destroy();
      server.close();
      await once(server, 'close');
    });

    test(`UDP sockets inside a namespace speak over descriptors, IPv${address.family}`, async () => {
      const type = address.family === 4 ? 'udp4' : 'udp6';
      const server = createSocket(type);
      server.bind({ fd: openUdpSocket(name, address, 5353) });
      const client = createSocket(type);
      client.bind({ fd: openUdpSocket(name, address, 0) });
      client.send('hello', 5353, address.family === 4 ? '127.0.0.1' : '::1');
      const [data] = await once(server, 'message');
      assert.equal(String(data), 'hello');
      client.close();
      server.close();
    });
  }

  test('an address that no interface has can be bound when asked for, and not otherwise', async () => {
    const far: Address = { family: 4, bytes: new Uint8Array([192, 0, 2, 1]) };
    assert.throws(() => openUdpSocket(name, far, 53), /bind UDP port 53.*EADDRNOTAVAIL/);
    const socket = createSocket('udp4');
    socket.bind({ fd: openUdpSocket(name, far, 53, { freeBind: true }) });
    assert.equal(socket.address().address, '192.0.2.1');
    socket.close();
  });

  test('interfaces are found by name, and a missing one is an error with its name', () => {
    assert.equal(interfaceIndexIn(name, 'lo'), 1);
    assert.throws(() => interfaceIndexIn(name, 'nope0'), /no interface nope0 in network namespace loader-netns/);
  });
});
