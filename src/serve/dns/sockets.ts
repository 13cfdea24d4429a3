/** What a server listens on, and whom it hears there. */
import { type Address, parseAddress } from '../../net/address.ts';

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
