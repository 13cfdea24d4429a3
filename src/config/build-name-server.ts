/** Complete values of a name server to a `NameServer`. */
import { sameAddress } from '../net/address.ts';
import type { Anycast, NameServer } from './model.ts';
import type { Entry, FileValues } from './schema.ts';

export type NameServerValues = Entry<NonNullable<FileValues['dns']>['servers']>;

export const DNS_PORT = 53;

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a checked configuration has a gap');
  return value;
}

export function buildNameServer(name: string, values: NameServerValues): NameServer {
  const listen = given(values.listen).map(given);
  const anycast = values.anycast === undefined ? null : buildAnycast(values.anycast);
  const others = (anycast?.addresses ?? []).filter(
    (address) => !listen.some((one) => one.port === DNS_PORT && sameAddress(one.address, address)),
  );
  const addresses = [...listen, ...others.map((address) => ({ address, port: DNS_PORT }))];
  return { name, listen: addresses, interfaces: values.interfaces ?? null, anycast };
}

function buildAnycast(values: NonNullable<NameServerValues['anycast']>): Anycast {
  return {
    addresses: given(values.addresses).map(given),
    asn: given(values.asn),
    routers: given(values.routers)
      .map(given)
      .map(({ address, asn }) => ({ address: given(address), asn: given(asn) })),
    bfd: given(values.bfd),
    staleAfterMs: given(values.staleAfter),
  };
}
