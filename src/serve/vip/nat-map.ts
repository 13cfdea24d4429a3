/** Which VIP replies of backends behind nat must seem to come from: the map `nat_replies`, and how many stand in it. */
import { type NatReply, natSourceName } from '../../decide/nat-replies.ts';
import { type Address, fromMapped, sameAddress, toMapped } from '../../net/address.ts';
import { deleteElement, listKeys, lookupElement, updateElement } from './bpf.ts';
import { MAX_NAT_REPLIES, NAT_SOURCE, NatReplyView, NatSourceView } from './layout.gen.ts';
import { PROTOCOL_NUMBERS } from './service-maps.ts';

/** What stands in it is written as a whole. While it is empty, packets to no VIP cost nothing more. */
export class NatReplyMap {
  readonly #fd: number;
  readonly #onCount: (count: number) => void;
  readonly #source = new NatSourceView();
  readonly #reply = new NatReplyView();
  #known = new Map<string, NatReply>();

  /** `onCount` puts the number into the settings, which turns looking at replies on and off. */
  constructor(fd: number, onCount: (count: number) => void) {
    this.#fd = fd;
    this.#onCount = onCount;
    for (const key of listKeys(fd, NAT_SOURCE.sizeBytes)) this.#recover(key);
  }

  /** What an earlier process left. */
  #recover(key: Uint8Array): void {
    if (!lookupElement(this.#fd, key, this.#reply.memory)) return;
    this.#source.memory.set(key);
    const { port, protocol } = this.#source;
    const { port: vipPort, hasTuples, subject } = this.#reply;
    const reply: NatReply = {
      backend: fromMapped(this.#source.copyAddress(new Uint8Array(16))),
      protocol: protocol === PROTOCOL_NUMBERS.tcp ? 'tcp' : 'udp',
      port,
      vip: fromMapped(this.#reply.copyAddress(new Uint8Array(16))),
      vipPort,
      subject,
      hasTuples: hasTuples !== 0,
      rivals: [],
    };
    this.#known.set(natSourceName(reply), reply);
  }

  /** Replies of sources that are in the map and not among these stay as they are; those of sources for which `isOver` holds go. */
  setAll(replies: ReadonlyMap<string, NatReply>, isOver: (reply: NatReply) => boolean): void {
    const next = new Map(replies);
    for (const [name, reply] of this.#known) if (!next.has(name) && !isOver(reply)) next.set(name, reply);
    if (next.size > MAX_NAT_REPLIES) {
      throw new RangeError(`${next.size} pairs of backend and port behind nat; ${MAX_NAT_REPLIES} are the most`);
    }
    for (const reply of next.values()) updateElement(this.#fd, this.#key(reply), this.#value(reply));
    const wanted = new Set([...next.values()].map((reply) => this.#key(reply).toString()));
    for (const key of listKeys(this.#fd, NAT_SOURCE.sizeBytes)) {
      if (!wanted.has(key.toString())) deleteElement(this.#fd, key);
    }
    this.#known = next;
    this.#onCount(next.size);
  }

  list(): NatReply[] {
    return [...this.#known.values()];
  }

  /** No packet comes from there any more. */
  removeBackend(address: Address): void {
    const others = [...this.#known].filter(([, reply]) => !sameAddress(reply.backend, address));
    if (others.length < this.#known.size) this.setAll(new Map(others), () => true);
  }

  #key({ backend, port, protocol }: NatReply): Uint8Array {
    this.#source.setAddress(toMapped(backend));
    this.#source.port = port;
    this.#source.protocol = PROTOCOL_NUMBERS[protocol];
    return this.#source.memory;
  }

  #value({ vip, vipPort, hasTuples, subject }: NatReply): Uint8Array {
    this.#reply.setAddress(toMapped(vip));
    this.#reply.port = vipPort;
    this.#reply.hasTuples = hasTuples ? 1 : 0;
    this.#reply.subject = subject;
    return this.#reply.memory;
  }
}
