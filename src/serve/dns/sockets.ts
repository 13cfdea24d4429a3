/** What a server listens on, and whom it hears there. */
import { type Address, formatAddress, parseAddress } from '../../net/address.ts';
import { boundSocketAddress, closeFd } from '../vip/libc.ts';
import { openUdpSocket } from '../vip/netns.ts';
import { read16 } from './wire/query.ts';

/**
 * An address and port, or the descriptor of a bound socket that somebody else opened (in another network namespace, or from a
 * predecessor). Never a wildcard address: each socket answers from the one address that it is bound to.
 */
export type SocketSource =
  | { readonly family: 4 | 6; readonly address: string; readonly port: number }
  | { readonly family: 4 | 6; readonly fd: number };

export interface BoundAddress {
  readonly address: string;
  readonly port: number;
}

export function isWildcardAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::' || address === '';
}

/** From the system's text, with the zone of a link-local address (`fe80::1%eth0`) cut off. */
export function clientAddress(text: string): Address {
  const zone = text.indexOf('%');
  const address = parseAddress(zone < 0 ? text : text.slice(0, zone));
  if (address === null) throw new Error(`the system named a client ${text}`);
  return address;
}

/** Resolves when the event loop has looked at all sockets once: what had arrived before has been read. */
export async function nextTurn(): Promise<void> {
  // The first may come before the sockets of the turn in hand.
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}

export interface UdpSocket {
  readonly family: 4 | 6;
  readonly fd: number;
  readonly bound: BoundAddress;
}

/** Room for a burst while no thread looks: half a second of 50,000 queries each. As others than root at most net.core.rmem_max. */
export const RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024;

/** Opens and binds what is not open yet. Throws, and closes it, when it is bound to a wildcard address. */
export function openUdp(source: SocketSource): UdpSocket {
  const { family } = source;
  const fd = 'fd' in source ? source.fd : openAt(source);
  const socket = boundSocketAddress(fd);
  const address = formatAddress({ family, bytes: family === 4 ? socket.slice(4, 8) : socket.slice(8, 24) });
  if (isWildcardAddress(address)) {
    closeFd(fd);
    throw new Error(`DNS does not listen on ${address}: replies must leave from the address that was asked`);
  }
  return { family, fd, bound: { address, port: read16(socket, 2) } };
}

function openAt({ address, port }: Extract<SocketSource, { address: string }>): number {
  return openUdpSocket(null, clientAddress(address), port, { receiveBufferBytes: RECEIVE_BUFFER_BYTES });
}
