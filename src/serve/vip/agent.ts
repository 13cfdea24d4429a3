/**
 * A backend machine's kernel side: packets of the site's members are taken out of their encapsulation, second chances are
 * passed on, and the machine answers clients directly for the VIPs on its loopback.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { QuicIds } from '../../config/model.ts';
import { serverIdNumber } from '../../decide/server-ids.ts';
import {
  type Address,
  formatAddress,
  formatPrefix,
  fromMapped,
  hostPrefix,
  isHost,
  mappedBits,
  type Prefix,
  toMapped,
} from '../../net/address.ts';
import { type Attachment, linkPinName, Root } from './attach.ts';
import { countPossibleCpus } from './balancer-object.ts';
import { deleteElement, listKeys, lookupElement, openPinned, updateElement } from './bpf.ts';
import { readBtf } from './btf.ts';
import { AgentCounterView } from './counters.ts';
import { addToLoopback, InterfaceSettings, loopbackAddresses, removeFromLoopback } from './direct-answer.ts';
import {
  ADDRESS,
  ADDRESS_PREFIX,
  AGENT_COUNTERS,
  AGENT_PORT,
  AGENT_PORT_PREFIX,
  AGENT_SETTINGS,
  AgentPortPrefixView,
  AgentPortView,
  AgentQuicView,
  AgentSettingsView,
  MAX_BACKENDS,
  MEMBER,
  ROLE,
} from './layout.gen.ts';
import { closeFd } from './libc.ts';
import { CandidateTable, type MemberFields } from './machine-entry.ts';
import { removeMapPins } from './maps.ts';
import { detachClamp, MssClamp } from './mss-clamp.ts';
import { interfaceNames } from './netns.ts';
import { BpfObject } from './object.ts';
import { listPins, makePinFolder, pinFolder, removeEmptyFolders, removeInstance } from './pins.ts';
import { RttProgram } from './rtt-program.ts';
import { prefixKey, readPrefixKey } from './service-maps.ts';
import { type Inheritance, Takeover } from './takeover.ts';

export interface AgentOptions {
  /** Names the pins, /sys/fs/bpf/portico/NAME/; may be that of a balancer on the same machine. Null: nothing is pinned. */
  readonly name: string | null;
  /** Namespace of the interfaces; null: this process's. */
  readonly netns: string | null;
  /** Interfaces on which encapsulated packets arrive. */
  readonly interfaces: readonly string[];
  /** This machine's outer addresses, one a family at most. */
  readonly addresses: readonly Address[];
  /** Folder of the compiled objects; default build/bpf of this tree. */
  readonly objects?: string;
}

export interface QuicPort {
  readonly vip: Prefix;
  /** 0: any. */
  readonly port: number;
  readonly ids: QuicIds;
  /** Of this machine, as long as `ids` says. */
  readonly serverId: Uint8Array;
}

const DEFAULT_OBJECTS = join(import.meta.dirname, '../../../build/bpf');

/** Values of `agent_vips` and `agent_vip_prefixes`: who put it on the loopback, so that whoever closes knows what to take away. */
const VIP_ADDED = 1;
const VIP_FOUND = 2;
/** Before the address in a key of `agent_quic_prefixes`. */
const QUIC_PORT_BITS = 32;

/**
 * Opens a machine's agent. Pins of that name are adopted: members, candidates and VIPs stay, and the program is exchanged
 * between two packets. Throws `LayoutMismatch` when what is pinned has another layout. Synchronous, some 100 ms.
 */
export function openAgent(options: AgentOptions): Agent {
  const folder = options.name === null ? null : pinFolder(options.name);
  const isNew = folder !== null && makePinFolder(folder);
  try {
    return new Agent(options, folder);
  } catch (error) {
    if (isNew && options.name !== null) removeInstance(options.name);
    throw error;
  }
}

/**
 * Takes a machine's agent away without loading anything, so also when this version could not adopt it: the VIPs that an
 * agent of that name put on the loopback, and every pin of the instance, those of other roles too. Interface settings stay
 * as they are. False: there was nothing.
 */
export async function takeDownAgent(name: string, netns: string | null): Promise<boolean> {
  const addresses = ['agent_vips', 'agent_vip_prefixes'].flatMap((map) => {
    const fd = openPinned(join(pinFolder(name), map));
    if (fd === null) return [];
    const own = listVipsIn(fd, map === 'agent_vips').filter(({ isOurs }) => isOurs);
    closeFd(fd);
    return own.map(({ vip }) => vip);
  });
  const pins = listPins(pinFolder(name));
  const interfaces = interfaceNames(netns).filter((one) => pins.includes(linkPinName(one)));
  const had = removeInstance(name);
  detachClamp(netns, interfaces);
  for (const address of addresses) await removeFromLoopback(netns, address);
  return had;
}

interface ServedVip {
  readonly vip: Prefix;
  readonly key: Uint8Array;
  /** An agent put it on the loopback. */
  readonly isOurs: boolean;
}

/** What stands in `agent_vips`, or in `agent_vip_prefixes`. */
function listVipsIn(fd: number, areAddresses: boolean): ServedVip[] {
  const value = new Uint32Array(1);
  const bytes = new Uint8Array(value.buffer);
  return listKeys(fd, areAddresses ? ADDRESS.sizeBytes : ADDRESS_PREFIX.sizeBytes).map((key) => {
    const isOurs = lookupElement(fd, key, bytes) && value[0] === VIP_ADDED;
    return { vip: areAddresses ? hostPrefix(fromMapped(key)) : readPrefixKey(key), key, isOurs };
  });
}

export class Agent {
  readonly attachments: readonly Attachment[];
  /** What was taken over from an earlier process, perhaps of another version; null: nothing was there. */
  readonly inheritance: Inheritance | null;
  readonly counters: AgentCounterView;
  /** Lowers the segments that VIPs announce; null: the kernel cannot, `clampTrouble` says why. */
  clamp: MssClamp | null = null;
  clampTrouble: string | null = null;
  /** Measures round trips to clients; null: the kernel cannot, `rttTrouble` says why. */
  rtt: RttProgram | null = null;
  rttTrouble: string | null = null;
  readonly #options: AgentOptions;
  readonly #folder: string | null;
  readonly #root: Root;
  readonly #object: BpfObject;
  readonly #candidates: CandidateTable;
  readonly #settings: InterfaceSettings;
  readonly #view: AgentSettingsView;
  #changingVips: Promise<void> = Promise.resolve();
  #closed = false;

  /** Use `openAgent`. */
  constructor(options: AgentOptions, folder: string | null) {
    this.#options = options;
    this.#folder = folder;
    const objects = options.objects ?? DEFAULT_OBJECTS;
    const { netns, interfaces } = options;
    this.#root = new Root({ netns, interfaces, folder, objects });
    let object: BpfObject | null = null;
    let takeover: Takeover | null = null;
    let settings: InterfaceSettings | null = null;
    try {
      const cpus = countPossibleCpus() + 1; // the last is no CPU's: what earlier versions counted
      const path = join(objects, 'backend.bpf.o');
      object = new BpfObject(path);
      this.#object = object;
      const { rolesFd } = this.#root;
      const sizes = { agent_counters: cpus };
      const btf = readBtf(readFileSync(path));
      takeover = new Takeover({ object, btf, folder, role: ROLE.BACKEND, rolesFd, sizes, counterStride: cpus });
      takeover.prepare();
      object.load();
      takeover.fill();
      this.inheritance = takeover.inheritance;
      this.counters = new AgentCounterView(this.#object.mappedMap('agent_counters', cpus * AGENT_COUNTERS.sizeBytes));
      this.#candidates = new CandidateTable(
        this.#object.mappedMap('agent_candidates', MAX_BACKENDS * MEMBER.sizeBytes),
      );
      this.#view = new AgentSettingsView(this.#object.mappedMap('agent_settings', AGENT_SETTINGS.sizeBytes));
      this.#writeSettings(this.#view);
      settings = new InterfaceSettings(netns, interfaces);
      this.#settings = settings;
      const { hasPrevious } = takeover;
      let attachments: Attachment[] = [];
      takeover.finish(() => {
        if (hasPrevious) attachments = this.#root.attach();
        this.#root.join(ROLE.BACKEND, this.programFd);
        if (!hasPrevious) attachments = this.#root.attach();
      });
      this.attachments = attachments;
      this.#openBeside(folder, objects);
    } catch (error) {
      settings?.restore();
      takeover?.abort(error);
      object?.close();
      this.#root.close();
      throw error;
    }
  }

  /** Maps of an earlier process were taken over. */
  get adopted(): boolean {
    return this.inheritance !== null;
  }

  /** What packets do without. */
  #openBeside(folder: string | null, objects: string): void {
    const { netns, interfaces } = this.#options;
    const vipMaps = new Map(['agent_vips', 'agent_vip_prefixes'].map((name) => [name, this.mapFd(name)]));
    try {
      this.rtt = new RttProgram({ folder, netns, objects, vipMaps });
    } catch (error) {
      this.rttTrouble = (error as Error).message;
    }
    try {
      this.clamp = new MssClamp({ folder, netns, interfaces, objects, vipMaps });
    } catch (error) {
      this.clampTrouble = (error as Error).message;
    }
  }

  #writeSettings(view: AgentSettingsView): void {
    const find = (family: 4 | 6) => this.#options.addresses.find((address) => address.family === family);
    const [v4, v6] = [find(4), find(6)];
    view.setAddress4(v4 === undefined ? new Uint8Array(16) : toMapped(v4));
    view.setAddress6(v6 === undefined ? new Uint8Array(16) : toMapped(v6));
  }

  /** The program `backend`, for `runProgram`. */
  get programFd(): number {
    return this.#object.programFd('backend');
  }

  /** Descriptor of a map, for tests and tools; closes with the agent. */
  mapFd(name: string): number {
    return this.#object.mapFd(name);
  }

  /**
   * From now on only these may send encapsulated packets here: balancers and backends of the site, by outer source. `prefixes`: in
   * which balancers vary it.
   */
  setMembers(addresses: readonly Address[], prefixes: readonly Prefix[] = []): void {
    const members = addresses.map(toMapped);
    const all = [...addresses.map((address) => prefixKey(hostPrefix(address))), ...prefixes.map(prefixKey)];
    replaceKeys(this.mapFd('agent_prefixes'), ADDRESS_PREFIX.sizeBytes, prefixes.length > 0 ? all : [], () => {
      this.#view.hasPrefixes = prefixes.length > 0 ? 1 : 0;
    });
    replaceKeys(this.mapFd('agent_members'), ADDRESS.sizeBytes, members);
  }

  /** Where second chances for a backend index go; null: nowhere, they are dropped. `index` from 1 to MAX_BACKENDS - 1. */
  setCandidate(index: number, member: MemberFields | null): void {
    this.#candidates.set(index, member);
  }

  /**
   * From now on the machine serves these VIPs and no others: each is put on the loopback before packets for it are let in,
   * and taken off after. What was on the loopback already is left there in the end. Calls queue up.
   */
  setVips(vips: readonly (Address | Prefix)[]): Promise<void> {
    const change = this.#changingVips.then(() => this.#setVips(vips.map(asPrefix)));
    this.#changingVips = change.catch(() => {});
    return change;
  }

  async #setVips(vips: readonly Prefix[]): Promise<void> {
    const { netns } = this.#options;
    const served = new Map(this.#served().map((one) => [formatPrefix(one.vip), one]));
    const present = vips.some(isHost) ? await loopbackAddresses(netns) : new Set<string>();
    for (const vip of vips) {
      const isThere = isHost(vip) && present.has(formatAddress(vip.address));
      const isNew = !isThere && (await addToLoopback(netns, vip));
      const isOurs = isNew || served.get(formatPrefix(vip))?.isOurs === true;
      const value = Uint32Array.of(isOurs ? VIP_ADDED : VIP_FOUND);
      const key = isHost(vip) ? toMapped(vip.address) : prefixKey(vip);
      updateElement(this.#vipsFd(vip), key, new Uint8Array(value.buffer));
    }
    const wanted = new Set(vips.map(formatPrefix));
    for (const [text, { vip, key, isOurs }] of served) {
      if (wanted.has(text)) continue;
      deleteElement(this.#vipsFd(vip), key);
      if (isOurs) await removeFromLoopback(netns, vip);
    }
  }

  #vipsFd(vip: Prefix): number {
    return this.mapFd(isHost(vip) ? 'agent_vips' : 'agent_vip_prefixes');
  }

  #served(): ServedVip[] {
    return [...listVipsIn(this.mapFd('agent_vips'), true), ...listVipsIn(this.mapFd('agent_vip_prefixes'), false)];
  }

  /** From now on UDP to these ports of VIPs is QUIC, whose connection IDs tell what is this machine's. Others are none. */
  setQuic(ports: readonly QuicPort[]): void {
    const kept = new Set<string>();
    for (const { vip, port, ids, serverId } of ports) {
      const value = new AgentQuicView();
      value.id = serverIdNumber(serverId);
      value.config = ids.configId;
      value.idBytes = ids.serverIdBytes;
      const key = quicKey(vip, port);
      updateElement(this.mapFd(isHost(vip) ? 'agent_quic' : 'agent_quic_prefixes'), key, value.memory);
      kept.add(Buffer.from(key).toString('hex'));
    }
    for (const [name, sizeBytes] of [
      ['agent_quic', AGENT_PORT.sizeBytes],
      ['agent_quic_prefixes', AGENT_PORT_PREFIX.sizeBytes],
    ] as const) {
      const fd = this.mapFd(name);
      for (const key of listKeys(fd, sizeBytes))
        if (!kept.has(Buffer.from(key).toString('hex'))) deleteElement(fd, key);
    }
  }

  /** Addresses first. */
  listVips(): Prefix[] {
    return this.#served().map(({ vip }) => vip);
  }

  /**
   * `keep` true: packets are taken in without the process. False: detaches, takes the VIPs off the loopback, puts the interfaces'
   * settings back (those that this process changed) and removes pins, except what other roles of the instance use.
   */
  async close({ keep }: { readonly keep: boolean }): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const staysBehind = keep && this.#folder !== null;
    await this.#changingVips;
    // A namespace that is gone took its loopback along.
    const { netns } = this.#options;
    const isThere = netns === null || existsSync(`/var/run/netns/${netns}`);
    if (!staysBehind && isThere) {
      await this.#setVips([]);
      this.#settings.restore();
    }
    this.clamp?.close({ keep: staysBehind || !isThere });
    this.rtt?.close({ keep: staysBehind });
    if (!staysBehind) {
      this.#root.leave(ROLE.BACKEND);
      if (this.#folder !== null) {
        removeMapPins(this.#object, this.#folder);
        removeEmptyFolders(this.#folder);
      }
    }
    this.#object.close();
    this.#root.close();
  }
}

function asPrefix(vip: Address | Prefix): Prefix {
  return 'bytes' in vip ? hostPrefix(vip) : vip;
}

/** Of `agent_quic`, or of `agent_quic_prefixes`. */
function quicKey(vip: Prefix, port: number): Uint8Array {
  const key = isHost(vip) ? new AgentPortView() : new AgentPortPrefixView();
  key.setVip(toMapped(vip.address));
  key.port = port;
  if (key instanceof AgentPortPrefixView) key.bits = QUIC_PORT_BITS + mappedBits(vip);
  return key.memory;
}

/** Adds those that are missing, then calls `between`, then takes the others away. */
function replaceKeys(fd: number, sizeBytes: number, keys: readonly Uint8Array[], between: () => void = () => {}): void {
  const one = new Uint8Array([1, 0, 0, 0]);
  for (const key of keys) updateElement(fd, key, one);
  between();
  const wanted = new Set(keys.map((key) => key.toString()));
  for (const key of listKeys(fd, sizeBytes)) if (!wanted.has(key.toString())) deleteElement(fd, key);
}
