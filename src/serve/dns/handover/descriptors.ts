/** Descriptors from one process to another, over a unix socket (SCM_RIGHTS, unix(7)). Nothing here waits long. */
import { rmSync } from 'node:fs';
import koffi from 'koffi';
import { systemError } from '../../vip/errno.ts';
import { allocateMemory, bindSocket, check, closeFd, listenSocket, makeSocket } from '../../vip/libc.ts';

const libc = koffi.load('libc.so.6');
const cAccept4 = libc.func('int accept4(int fd, void *address, void *length, int flags)');
const cConnect = libc.func('int connect(int fd, void *address, uint32_t length)');
const cSendmsg = libc.func('long sendmsg(int fd, void *header, int flags)');
const cRecvmsg = libc.func('long recvmsg(int fd, void *header, int flags)');
const cPoll = libc.func('int poll(void *entries, unsigned long count, int timeoutMs)');

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const EAGAIN = 11;
const POLLIN = 1;
/** The kernel's limit (net/core/scm.h). */
export const MAX_DESCRIPTORS = 253;
const MAX_PATH_BYTES = 107;

const HEADER_AT = 0;
const VECTOR_AT = 64;
const CONTROL_AT = 128;
const CONTROL_HEAD_BYTES = 16;
const DATA_AT = 2048;
const DATA_BYTES = 64 * 1024;

function unixAddress(path: string): Uint8Array {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length > MAX_PATH_BYTES) throw new Error(`${path} is too long for a socket: ${MAX_PATH_BYTES} bytes`);
  return Uint8Array.from([AF_UNIX, 0, ...bytes, 0]);
}

/** A socket that others find under the path; what stood there goes. */
export function offerAt(path: string): number {
  rmSync(path, { force: true });
  const fd = makeSocket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  bindSocket(fd, unixAddress(path), path);
  listenSocket(fd, 1, path);
  return fd;
}

/** Who has connected since; null: nobody. */
export function acceptOne(fd: number): number | null {
  const peer: number = cAccept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return peer < 0 ? null : peer;
}

/** Null: nobody offers anything there. */
export function connectTo(path: string): number | null {
  const fd = makeSocket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const address = unixAddress(path);
  if (cConnect(fd, address, address.length) === 0) return fd;
  closeFd(fd);
  return null;
}

/** Header, vector, control and data of one message. */
function openMessage(controlBytes: number, dataBytes: number) {
  const memory = allocateMemory(DATA_AT + DATA_BYTES, 'a message');
  const view = new DataView(memory.buffer);
  const long = (at: number, value: bigint) => view.setBigUint64(at, value, true);
  long(HEADER_AT + 16, memory.address + BigInt(VECTOR_AT));
  long(HEADER_AT + 24, 1n);
  long(HEADER_AT + 32, controlBytes === 0 ? 0n : memory.address + BigInt(CONTROL_AT));
  long(HEADER_AT + 40, BigInt(controlBytes));
  long(VECTOR_AT, memory.address + BigInt(DATA_AT));
  long(VECTOR_AT + 8, BigInt(dataBytes));
  return { memory, view, data: new Uint8Array(memory.buffer, DATA_AT, DATA_BYTES) };
}

/** At most `MAX_DESCRIPTORS`, which stay open here too. */
export function sendDescriptors(peer: number, fds: readonly number[], text: string): void {
  const bytes = new TextEncoder().encode(text);
  const control = fds.length === 0 ? 0 : (CONTROL_HEAD_BYTES + fds.length * 4 + 7) & ~7;
  const { memory, view, data } = openMessage(control, bytes.length);
  try {
    data.set(bytes);
    if (fds.length > 0) {
      view.setBigUint64(CONTROL_AT, BigInt(CONTROL_HEAD_BYTES + fds.length * 4), true);
      view.setInt32(CONTROL_AT + 8, SOL_SOCKET, true);
      view.setInt32(CONTROL_AT + 12, SCM_RIGHTS, true);
      for (const [i, fd] of fds.entries()) view.setInt32(CONTROL_AT + CONTROL_HEAD_BYTES + i * 4, fd, true);
    }
    check(Number(cSendmsg(peer, memory.address, MSG_DONTWAIT | MSG_NOSIGNAL)), 'send descriptors');
  } finally {
    memory.unmap();
  }
}

export interface ReceivedDescriptors {
  readonly text: string;
  readonly fds: readonly number[];
}

/** Null: nothing came within the time. Throws when the peer has gone. */
export function receiveDescriptors(peer: number, waitMs: number): ReceivedDescriptors | null {
  if (waitMs > 0) cPoll(Int32Array.of(peer, POLLIN), 1, waitMs);
  const control = CONTROL_HEAD_BYTES + MAX_DESCRIPTORS * 4;
  const { memory, view, data } = openMessage(control, DATA_BYTES);
  try {
    const bytes = Number(cRecvmsg(peer, memory.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    const errno = bytes < 0 ? koffi.errno() : 0;
    if (errno === EAGAIN) return null;
    if (bytes < 0) throw systemError('receive descriptors', errno);
    if (bytes === 0) throw new Error('the other process has gone');
    const got = view.getBigUint64(HEADER_AT + 40, true);
    const count = got === 0n ? 0 : (Number(view.getBigUint64(CONTROL_AT, true)) - CONTROL_HEAD_BYTES) / 4;
    const fds = Array.from({ length: count }, (_, i) => view.getInt32(CONTROL_AT + CONTROL_HEAD_BYTES + i * 4, true));
    return { text: new TextDecoder().decode(data.slice(0, bytes)), fds };
  } finally {
    memory.unmap();
  }
}
