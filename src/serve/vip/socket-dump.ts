/**
 * The TCP and connected UDP sockets of a namespace, as the kernel lists them over netlink (sock_diag(7)): one dump a family and
 * protocol. Some 0.4 us a socket in the kernel.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { systemError } from './errno.ts';
import { bindSocket, closeFd, makeSocket, receive, sendTo } from './libc.ts';
import { inNamespace } from './netns.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 1;
const NLM_F_DUMP = 0x300;
const HEADER_BYTES = 16;
const REQUEST_BYTES = 56;
/** The kernel gives at most 32 KiB at a time: some 250 sockets. */
const RECEIVE_BYTES = 1 << 15;
/** Of a connection that may still bring data: all but SYN_SENT, TIME_WAIT, CLOSE and LISTEN. */
const CONNECTION_STATES = [1, 3, 4, 5, 8, 9, 11, 12].reduce((mask, state) => mask | (1 << state), 0);

/** Where things stand in an answer: struct nlmsghdr, then struct inet_diag_msg. Ports and addresses in wire order. */
export const SOCKET = {
  localPort: HEADER_BYTES + 4,
  remotePort: HEADER_BYTES + 6,
  localAddress: HEADER_BYTES + 8,
  remoteAddress: HEADER_BYTES + 24,
  cookie: HEADER_BYTES + 44,
} as const;

/** `bytes` holds one answer at `at` (SOCKET); it is overwritten afterwards. `addressBytes`: of the family. */
export type OnSocket = (bytes: DataView, at: number, addressBytes: 4 | 16) => void;

function request(family: number, protocol: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + REQUEST_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, true);
  view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, true);
  view.setUint8(HEADER_BYTES, family);
  view.setUint8(HEADER_BYTES + 1, protocol);
  view.setUint32(HEADER_BYTES + 4, CONNECTION_STATES, true);
  return bytes;
}

/**
 * Calls `onSocket` for each connection of `protocol` (6 or 17) in the namespace (null: this process's), IPv4 first. Lets other work
 * go on between pieces of some 250. False: ended at `most`. Sockets that come or go meanwhile may or may not be among them.
 */
export async function dumpSockets(
  netns: string | null,
  protocol: number,
  most: number,
  onSocket: OnSocket,
): Promise<boolean> {
  const fd = inNamespace(netns, () => makeSocket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  try {
    const address = new Uint8Array(12);
    new DataView(address.buffer).setUint16(0, AF_NETLINK, true);
    bindSocket(fd, address, 'a netlink socket');
    let left = most;
    for (const family of [AF_INET, AF_INET6]) {
      const errno = sendTo(fd, request(family, protocol), address);
      if (errno !== 0) throw systemError('ask for the list of sockets', errno);
      left = await readAnswers(fd, family === AF_INET ? 4 : 16, left, onSocket);
      if (left < 0) return false;
    }
    return true;
  } finally {
    closeFd(fd);
  }
}

/** How many more may come; below 0: too many came. */
async function readAnswers(fd: number, addressBytes: 4 | 16, most: number, onSocket: OnSocket): Promise<number> {
  const buffer = new Uint8Array(RECEIVE_BYTES);
  const view = new DataView(buffer.buffer);
  for (let left = most; ; await nextTurn()) {
    const end = receive(fd, buffer, 'the list of sockets');
    for (let at = 0; at + HEADER_BYTES <= end; ) {
      const length = view.getUint32(at, true);
      const type = view.getUint16(at + 4, true);
      if (length < HEADER_BYTES || at + length > end)
        throw new Error(`the kernel's list of sockets ends within an entry`);
      if (type === NLMSG_DONE) return left;
      if (type === NLMSG_ERROR) throw systemError('list sockets', -view.getInt32(at + HEADER_BYTES, true));
      if (left-- === 0) return -1;
      onSocket(view, at, addressBytes);
      at += (length + 3) & ~3;
    }
  }
}
