/** A running server with the sample configuration, and `dig`. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import { mutableView, testConfig } from '../../src/serve/dns/sample.ts';
import { createDnsServer, type DnsServer, type DnsServerOptions } from '../../src/serve/dns/server.ts';

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  assert.ok(bound !== null && typeof bound !== 'string');
  await new Promise((resolve) => server.close(resolve));
  return bound.port;
}

export interface RunningServer {
  readonly server: DnsServer;
  readonly port: number;
}

/** A server on 127.0.0.1 and ::1, on one free port for UDP and TCP. */
export async function startServer(options: Partial<DnsServerOptions> = {}): Promise<RunningServer> {
  for (let attempt = 0; ; attempt++) {
    const port = await freePort();
    const four = { family: 4, address: '127.0.0.1', port } as const;
    const six = { family: 6, address: '::1', port } as const;
    const server = createDnsServer({
      config: testConfig(),
      steering: mutableView(),
      serverName: 'ns-test',
      epoch: '7',
      sockets: [
        { udp: four, tcp: four },
        { udp: six, tcp: six },
      ],
      ...options,
    });
    try {
      await server.start();
      return { server, port };
    } catch (error) {
      // Another process took the port in between.
      if (attempt === 5) throw error;
    }
  }
}

const run = promisify(execFile);

export interface DigAnswer {
  readonly text: string;
  readonly status: string;
  readonly flags: readonly string[];
  /** Records as dig prints them, blanks joined. */
  readonly answer: readonly string[];
  readonly authority: readonly string[];
  readonly additional: readonly string[];
  readonly question: readonly string[];
  /** "203.0.113.0/24/24" and such; null: no client subnet in the answer. */
  readonly subnet: string | null;
  readonly sizeBytes: number;
}

/** Asks with the real dig, once, without following truncation unless told (`+noignore`). */
export async function dig(port: number, args: string): Promise<DigAnswer> {
  const server = args.includes('@') ? '' : '@127.0.0.1 ';
  const command = `${server}-p ${port} +norecurse +tries=1 +time=3 +nocookie +ignore ${args}`;
  const { stdout } = await run('dig', command.trim().split(/ +/));
  const section = (name: string): string[] => {
    const match = new RegExp(`;; ${name} SECTION:\\n([^]*?)\\n\\n`).exec(stdout);
    return match === null ? [] : match[1].split('\n').map((line) => line.replace(/\s+/g, ' '));
  };
  const subnet = /CLIENT-SUBNET: (\S+)/.exec(stdout);
  return {
    text: stdout,
    status: /status: ([A-Z0-9]+)/.exec(stdout)?.[1] ?? 'none',
    flags: /;; flags: ([a-z ]*);/.exec(stdout)?.[1].split(' ') ?? [],
    question: section('QUESTION'),
    answer: section('ANSWER'),
    authority: section('AUTHORITY'),
    additional: section('ADDITIONAL'),
    subnet: subnet === null ? null : subnet[1],
    sizeBytes: Number(/MSG SIZE {2}rcvd: ([0-9]+)/.exec(stdout)?.[1] ?? 0),
  };
}

/** One datagram and its answer; null: none within the time. `sourcePort`: 0 any. */
export async function exchange(port: number, bytes: Uint8Array, waitMs = 2000, sourcePort = 0): Promise<Buffer | null> {
  const socket = createSocket('udp4');
  try {
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => resolve(null), waitMs);
      socket.on('error', reject);
      socket.on('message', (message) => {
        clearTimeout(timer);
        resolve(message);
      });
      socket.bind(sourcePort, '127.0.0.1', () => socket.send(bytes, port, '127.0.0.1'));
    });
  } finally {
    socket.close();
  }
}
