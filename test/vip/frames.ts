/** Builds frames for fixtures from their headers, with right lengths and checksums unless a test says otherwise. */
import { sipHash, sipHashKey } from '../../src/model/siphash.ts';
import { type Address, parseAddress } from '../../src/net/address.ts';
import { foldChecksum, onesSum, pseudoHeaderSum } from '../../src/net/checksum.ts';

export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;
export const ICMPV6 = 58;
export const GRE = 47;
export const IPV4 = 4;
export const IPV6 = 41;

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(`${text} is no address`);
  return parsed;
}

export function join(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function words(...values: readonly number[]): number[] {
  return values.flatMap((value) => [value >> 8, value & 0xff]);
}

function mac(last: number): number[] {
  return [2, 0, 0, 0, 0, last];
}

/** MAC addresses are 02:00:00:00:00:last; the type is that of the IP version in `payload`. */
export function ethernet(to: number, from: number, payload: Uint8Array, tags: readonly number[] = []): Uint8Array {
  return join(mac(to), mac(from), words(...tags, payload[0] >> 4 === 6 ? 0x86dd : 0x0800), payload);
}

export interface IpFields {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly timeToLive?: number;
  /** IPv4: a multiple of 4 bytes. */
  readonly options?: readonly number[];
  /** IPv4: flags and offset. */
  readonly fragment?: number;
  /** What the length field says instead of the truth. */
  readonly saidLength?: number;
  /** IPv4. */
  readonly tos?: number;
  /** IPv6. */
  readonly flowLabel?: number;
}

export function ipv4(fields: IpFields, payload: Uint8Array | readonly number[]): Uint8Array {
  const { from, to, protocol, timeToLive = 61, options = [], fragment = 0, saidLength, tos = 0 } = fields;
  const headerBytes = 20 + options.length;
  const packet = join(
    [0x40 | (headerBytes / 4), tos],
    words(saidLength ?? headerBytes + payload.length, 0, fragment),
    [timeToLive, protocol, 0, 0],
    address(from).bytes,
    address(to).bytes,
    options,
    payload,
  );
  packet.set(words(foldChecksum(onesSum(packet, 0, headerBytes))), 10);
  return packet;
}

export function ipv6(fields: IpFields, payload: Uint8Array | readonly number[]): Uint8Array {
  const { from, to, protocol, timeToLive = 61, saidLength, flowLabel = 0 } = fields;
  return join(
    words(0x6000 | (flowLabel >> 16), flowLabel & 0xffff, saidLength ?? payload.length),
    [protocol, timeToLive],
    address(from).bytes,
    address(to).bytes,
    payload,
  );
}

/** The packet with one hop less, its IPv4 checksum right. */
export function afterHop(packet: Uint8Array): Uint8Array {
  const result = packet.slice();
  if (packet[0] >> 4 === 6) {
    result[7]--;
    return result;
  }
  result[8]--;
  result.set([0, 0], 10);
  result.set(words(foldChecksum(onesSum(result, 0, (packet[0] & 15) * 4))), 10);
  return result;
}

export interface TcpFields {
  readonly from: number;
  readonly to: number;
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  /** Header length in words of 4 bytes. */
  readonly dataOffset?: number;
}

/** The checksum is 0: nothing that is tested here reads it. */
export function tcp(fields: TcpFields, data: readonly number[] = []): Uint8Array {
  const { from, to, flags, sequence = 1, acknowledgement = 0, dataOffset = 5 } = fields;
  const halves = (value: number) => words(value >>> 16, value & 0xffff);
  return join(
    words(from, to),
    halves(sequence),
    halves(acknowledgement),
    [dataOffset << 4, flags],
    words(1024, 0, 0),
    data,
  );
}

export function udp(from: number, to: number, data: readonly number[], saidLength = 8 + data.length): Uint8Array {
  return join(words(from, to, saidLength, 0), data);
}

/** `id` and `sequence` are the second word of the header: in errors what stands there, the MTU in its lower half. */
export function icmp(type: number, id: number, sequence: number, data: readonly number[] = [], code = 0): Uint8Array {
  const message = join([type, code, 0, 0], words(id, sequence), data);
  message.set(words(foldChecksum(onesSum(message, 0, message.length))), 2);
  return message;
}

export function icmpv6(
  fields: IpFields,
  type: number,
  id: number,
  data: readonly number[] = [],
  sequence = 1,
  code = 0,
): Uint8Array {
  const message = join([type, code, 0, 0], words(id, sequence), data);
  const pseudo = pseudoHeaderSum(address(fields.from), address(fields.to), ICMPV6, message.length);
  message.set(words(foldChecksum(onesSum(message, 0, message.length, pseudo))), 2);
  return message;
}

/** `key`: the two backend indices, or none. */
export function gre(inner: Uint8Array, key?: readonly [number, number]): Uint8Array {
  const type = inner[0] >> 4 === 6 ? 0x86dd : 0x0800;
  return join(words(key === undefined ? 0 : 0x2000, type), words(...(key ?? [])), inner);
}

/** UDP and GUE, version 0; `key` as private data. */
export function gue(sourcePort: number, inner: Uint8Array, key?: readonly [number, number]): Uint8Array {
  const header = [key === undefined ? 0 : 1, inner[0] >> 4 === 6 ? IPV6 : IPV4, 0, 0];
  return udp(sourcePort, 6080, [...header, ...words(...(key ?? [])), ...inner]);
}

/** The low 20 bits of the flow hash; `key`: 16 bytes. */
export function flowLabelOf(
  key: Uint8Array,
  from: string,
  to: string,
  ports: readonly [number, number],
  protocol: number,
): number {
  const message = join(address(from).bytes, address(to).bytes, words(...ports), [protocol]);
  const hash = new Uint32Array(4);
  sipHash(sipHashKey(key), message, hash);
  return hash[0] & 0xfffff;
}

/** Readable in a failed assertion. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/(.{32})/g, '$1\n');
}
