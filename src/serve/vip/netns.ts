/**
 * Work inside a network namespace. `setns` moves the calling thread only, so everything here is synchronous: the thread
 * is back before any other JavaScript runs. Node makes its sockets on a later tick; so sockets are made here and their
 * descriptors handed over.
 */
import { readFileSync } from 'node:fs';
import type { Address } from '../../net/address.ts';
import {
  bindSocket,
  closeFd,
  interfaceIndex,
  listenSocket,
  makeSocket,
  openPath,
  setNetworkNamespace,
  setSocketOption,
  socketOption64,
} from './libc.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SO_NETNS_COOKIE = 71;
const IPPROTO_IP = 0;
const IP_FREEBIND = 15;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;

/**
 * Runs `fn` in the namespace /var/run/netns/NAME (null: where the thread is) and returns to where the thread was, also
 * when `fn` throws. Child processes that `fn` starts stay in the namespace. `fn` must not be asynchronous: what it awaits
 * would run outside. Costs about 20 us.
 */
export function inNamespace<T>(name: string | null, fn: () => T): T {
  if (name === null) return fn();
  const home = openPath('/proc/thread-self/ns/net');
  try {
    const target = openPath(`/var/run/netns/${name}`);
    try {
      setNetworkNamespace(target, name);
    } finally {
      closeFd(target);
    }
    try {
      const result = fn();
      if (result instanceof Promise) throw new Error('inNamespace: the function must not be asynchronous');
      return result;
    } finally {
      setNetworkNamespace(home, 'of this process');
    }
  } finally {
    closeFd(home);
  }
}

export interface SocketOptions {
  /** Several sockets may share the port (SO_REUSEPORT). */
  readonly reusePort?: boolean;
  /** Bind although no interface has the address yet (IP_FREEBIND); VIPs come and go. */
  readonly freeBind?: boolean;
  /** Receive buffer in bytes; without CAP_NET_ADMIN at most net.core.rmem_max. */
  readonly receiveBufferBytes?: number;
}

/** `struct sockaddr_in` (16 bytes) or `sockaddr_in6` (28 bytes): family in host order, port and address in wire order. */
function socketAddress(address: Address, port: number): Uint8Array {
  const out = new Uint8Array(address.family === 4 ? 16 : 28);
  new DataView(out.buffer).setUint16(0, address.family === 4 ? AF_INET : AF_INET6, true);
  out[2] = port >> 8;
  out[3] = port & 0xff;
  out.set(address.bytes, address.family === 4 ? 4 : 8);
  return out;
}

/** Beyond net.core.rmem_max where that is allowed (CAP_NET_ADMIN). */
function setReceiveBuffer(fd: number, bytes: number): void {
  try {
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, 'SO_RCVBUFFORCE');
  } catch {
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, bytes, 'SO_RCVBUF');
  }
}

function openSocketIn(
  namespace: string | null,
  type: number,
  address: Address,
  port: number | null,
  options: SocketOptions,
): number {
  const what = `${type === SOCK_STREAM ? 'TCP' : 'UDP'} port ${port ?? 'any'} of an IPv${address.family} address${namespace === null ? '' : ` in namespace ${namespace}`}`;
  return inNamespace(namespace, () => {
    const fd = makeSocket(address.family === 4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    try {
      setSocketOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'SO_REUSEADDR');
      // IPv4 has its own sockets: a dual-stack one would show mapped addresses.
      if (address.family === 6) setSocketOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, 'IPV6_V6ONLY');
      if (options.reusePort) setSocketOption(fd, SOL_SOCKET, SO_REUSEPORT, 1, 'SO_REUSEPORT');
      // The option of the IPv4 level works for IPv6 sockets too (ip(7), net/ipv6/af_inet6.c).
      if (options.freeBind) setSocketOption(fd, IPPROTO_IP, IP_FREEBIND, 1, 'IP_FREEBIND');
      if (options.receiveBufferBytes !== undefined) {
        setReceiveBuffer(fd, options.receiveBufferBytes);
      }
      if (port !== null) bindSocket(fd, socketAddress(address, port), what);
      return fd;
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  });
}

/** A listening TCP socket, for `server.listen({fd})`, whose handle then owns the descriptor. Port 0: the kernel chooses. */
export function openTcpListener(
  namespace: string | null,
  address: Address,
  port: number,
  options: SocketOptions & { readonly backlog?: number } = {},
): number {
  const fd = openSocketIn(namespace, SOCK_STREAM, address, port, options);
  try {
    listenSocket(fd, options.backlog ?? 511, `TCP port ${port}`);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/**
 * A TCP socket that is not connected yet, for `new Socket({fd}).connect({host, port})`. `address` is the source to bind
 * to; with `source.bind` false only its family counts and the kernel chooses the source.
 */
export function openTcpSocket(
  namespace: string | null,
  address: Address,
  source: { readonly bind: boolean; readonly port?: number },
  options: SocketOptions = {},
): number {
  return openSocketIn(namespace, SOCK_STREAM, address, source.bind ? (source.port ?? 0) : null, options);
}

/**
 * A bound UDP socket, for `dgram.createSocket(...).bind({fd})`, which then owns the descriptor and emits `listening` before
 * it returns. Port 0: the kernel chooses.
 */
export function openUdpSocket(
  namespace: string | null,
  address: Address,
  port: number,
  options: SocketOptions = {},
): number {
  return openSocketIn(namespace, SOCK_DGRAM, address, port, options);
}

/** The number by which kernel programs know a network namespace, unique since the machine booted. Linux 5.14. */
export function namespaceCookie(name: string | null): bigint {
  return inNamespace(name, () => {
    const fd = makeSocket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    try {
      return socketOption64(fd, SOL_SOCKET, SO_NETNS_COOKIE, 'SO_NETNS_COOKIE');
    } finally {
      closeFd(fd);
    }
  });
}

/** Interfaces of a namespace; null: this process's. */
export function interfaceNames(netns: string | null): string[] {
  const table = inNamespace(netns, () => readFileSync('/proc/thread-self/net/dev', 'utf8'));
  return [...table.matchAll(/^ *([^ :]+):/gm)].map(([, name]) => name as string);
}

/** Bytes that came in and went out by each interface of a namespace since it was made. */
export function interfaceBytes(
  netns: string | null,
): Map<string, { readonly received: number; readonly sent: number }> {
  const table = inNamespace(netns, () => readFileSync('/proc/thread-self/net/dev', 'utf8'));
  const counted = new Map<string, { received: number; sent: number }>();
  for (const [, name, rest] of table.matchAll(/^ *([^ :]+): *(.*)$/gm)) {
    const fields = rest.split(/ +/); // proc_pid_net(5): eight of what was received, then eight of what was sent
    counted.set(name, { received: Number(fields[0]), sent: Number(fields[8]) });
  }
  return counted;
}

/** Index of an interface in a namespace; throws when there is none of that name. */
export function interfaceIndexIn(namespace: string | null, name: string): number {
  const index = inNamespace(namespace, () => interfaceIndex(name));
  if (index === 0) {
    throw new Error(`no interface ${name}${namespace === null ? '' : ` in network namespace ${namespace}`}`);
  }
  return index;
}
