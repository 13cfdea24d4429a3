/** What the guard of anycast addresses is told of its name server: plain values, since they go to another process as JSON. */
import type { Speaker } from '../announce/bird-config.ts';
import type { Anycast, NameServer } from '../config/model.ts';
import { type Address, formatAddress, hostPrefix, type Prefix, parseAddress } from '../net/address.ts';

export interface AnycastSpeaker {
  readonly name: string;
  /** Of the machine, for BIRD's router id. */
  readonly own: readonly string[];
  readonly addresses: readonly string[];
  readonly asn: number;
  readonly routers: readonly { readonly address: string; readonly asn: number }[];
  readonly bfd: boolean;
  readonly staleAfterMs: number;
}

export function anycastSpeaker({ name, listen }: NameServer, anycast: Anycast): AnycastSpeaker {
  const addresses = anycast.addresses.map(formatAddress);
  return {
    name,
    own: listen.map(({ address }) => formatAddress(address)).filter((text) => !addresses.includes(text)),
    addresses,
    asn: anycast.asn,
    routers: anycast.routers.map(({ address, asn }) => ({ address: formatAddress(address), asn })),
    bfd: anycast.bfd,
    staleAfterMs: anycast.staleAfterMs,
  };
}

export function readSpeaker(speaker: AnycastSpeaker): {
  readonly speaker: Speaker;
  readonly prefixes: readonly Prefix[];
} {
  const { name, own, addresses, asn, routers, bfd } = speaker;
  return {
    speaker: {
      name,
      addresses: own.map(read),
      asn,
      routers: routers.map((router) => ({ address: read(router.address), asn: router.asn })),
      probePrefix: null,
      bfd,
    },
    prefixes: addresses.map((text) => hostPrefix(read(text))),
  };
}

function read(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new Error(`${text} is no address`);
  return address;
}
