/**
 * Sends whole Ethernet frames on the interfaces of a namespace, past the kernel's routing (packet(7)). One socket serves them
 * all: it belongs to the namespace that it was made in, each frame names its interface. It receives nothing.
 */
import { errnoName } from './errno.ts';
import { closeFd, makeSocket, sendTo, setSocketOption } from './libc.ts';
import { inNamespace } from './netns.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SOCKADDR_LL_BYTES = 20;
const SEND_BUFFER_BYTES = 4 * 1024 * 1024;
const ETHERNET_HEADER_BYTES = 14;

export class PacketSocket {
  readonly #fd: number;
  /** struct sockaddr_ll of the frame in hand. */
  readonly #address = new Uint8Array(SOCKADDR_LL_BYTES);
  readonly #view = new DataView(this.#address.buffer);
  #closed = false;
  /** Frames that the kernel took. */
  sent = 0;
  /** Frames that it did not take, by the name of the error: ENOBUFS, EMSGSIZE (longer than the MTU), ENETDOWN, ENXIO (no such interface). */
  readonly refused = new Map<string, number>();

  /** `netns` null: this process's. Needs CAP_NET_RAW. */
  constructor(netns: string | null) {
    // Protocol 0: the socket is never given a packet.
    this.#fd = inNamespace(netns, () => makeSocket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    try {
      setSocketOption(this.#fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES, 'SO_SNDBUFFORCE');
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
    this.#view.setUint16(0, AF_PACKET, true);
  }

  /** False: the frame is lost, and counted. Some 3 us, the interface's own work in them. */
  send(ifindex: number, frame: Uint8Array): boolean {
    if (this.#closed || frame.length < ETHERNET_HEADER_BYTES) return this.#refuse('EINVAL');
    this.#view.setUint16(2, (frame[12] << 8) | frame[13], false);
    this.#view.setInt32(4, ifindex, true);
    this.#address[11] = 6;
    this.#address.set(frame.subarray(0, 6), 12);
    const errno = sendTo(this.#fd, frame, this.#address);
    if (errno !== 0) return this.#refuse(errnoName(errno));
    this.sent++;
    return true;
  }

  #refuse(name: string): false {
    this.refused.set(name, (this.refused.get(name) ?? 0) + 1);
    return false;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeFd(this.#fd);
  }
}
