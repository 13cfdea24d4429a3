/**
 * A name server for the lab's tests, in as few lines as will do: answers A and AAAA from a function of the client subnet that
 * the query tells (RFC 7871), and remembers the queries. Portico's own server is not used, so that the lab is tested alone.
 */
import type { Socket } from 'node:dgram';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { formatAddress, parseAddress } from '../../src/net/address.ts';
import { openUdpSocket } from '../../src/serve/vip/netns.ts';

export interface SeenQuery {
  readonly type: number;
  /** ADDRESS/LENGTH; null: the query told no subnet. */
  readonly subnet: string | null;
}

/** Address to answer with, or null for no record. */
export type Answerer = (query: SeenQuery) => string | null;

const OPTION_SUBNET = 8;

/** The option as it came, and the subnet in it. The message is a query of one question and one OPT record, as Unbound sends. */
function readSubnet(message: Buffer, questionEnd: number): { option: Buffer; subnet: string } | null {
  if (message.readUInt16BE(10) === 0) return null;
  const optionsAt = questionEnd + 11; // root name, type, size, extended code and flags, length
  const option = message.subarray(optionsAt);
  if (option.length < 8 || option.readUInt16BE(0) !== OPTION_SUBNET) return null;
  const family = option.readUInt16BE(4) === 1 ? 4 : 6;
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  bytes.set(option.subarray(8, 4 + option.readUInt16BE(2)));
  return { option, subnet: `${formatAddress({ family, bytes })}/${option[6]}` };
}

function answer(message: Buffer, ttlSeconds: number, seen: SeenQuery[], answerer: Answerer): Buffer {
  let end = 12;
  while (message[end] !== 0) end += message[end] + 1;
  end += 5;
  const type = message.readUInt16BE(end - 4);
  const told = readSubnet(message, end);
  const query = { type, subnet: told?.subnet ?? null };
  seen.push(query);
  const address = parseAddress(answerer(query) ?? '');
  const header = Buffer.from(message.subarray(0, 12));
  header.writeUInt16BE(0x8400, 2); // response, authoritative
  header.writeUInt16BE(address === null ? 0 : 1, 6);
  header.writeUInt16BE(0, 8);
  const parts = [header, message.subarray(12, end)];
  if (address !== null) {
    const record = Buffer.alloc(12);
    record.writeUInt16BE(0xc00c, 0);
    record.writeUInt16BE(type, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt32BE(ttlSeconds, 6);
    record.writeUInt16BE(address.bytes.length, 10);
    parts.push(record, Buffer.from(address.bytes));
  }
  if (message.readUInt16BE(10) > 0) {
    const option = told === null ? Buffer.alloc(0) : Buffer.from(told.option);
    if (option.length > 0) option[7] = option[6]; // the scope is as narrow as the source
    const record = Buffer.from([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, option.length]);
    parts.push(record, option);
  }
  return Buffer.concat(parts);
}

export interface TestNameServer {
  readonly seen: SeenQuery[];
  close(): void;
}

/** Serves on port 53 of each address, in the namespace beside it. */
export async function startNameServer(
  places: readonly { readonly netns: string; readonly address: string }[],
  ttlSeconds: number,
  answerer: Answerer,
): Promise<TestNameServer> {
  const seen: SeenQuery[] = [];
  const sockets: Socket[] = [];
  for (const { netns, address } of places) {
    const socket = createSocket('udp4');
    const listening = once(socket, 'listening');
    socket.bind({ fd: openUdpSocket(netns, parseAddress(address)!, 53) });
    await listening;
    socket.on('message', (message, from) => {
      socket.send(answer(message, ttlSeconds, seen, answerer), from.port, from.address);
    });
    sockets.push(socket);
  }
  return {
    seen,
    close() {
      for (const socket of sockets) socket.close();
    },
  };
}
