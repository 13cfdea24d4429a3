/**
 * What `bpf/dns.bpf.c` answers with, made of compiled zones: names, the prefix maps of their services, and for every site of a service the
 * sections of its answers. Sites are the choices; which one a plan chooses now stands apart (`currentChoices`), since it changes with health.
 */

import type { PolicyKind } from '../../../config/steering-model.ts';
import { CurrentChoices } from '../../../decide/steer/current-choices.ts';
import type { SteeringView } from '../../../decide/steer/nearest.ts';
import type { ServiceSteering } from '../../../decide/steer/policy.ts';
import type { PrefixMap } from '../../../net/prefix-map.ts';
import {
  DNS_LINE_CHOICES,
  DNS_NAME,
  DNS_NAME_WORDS,
  DNS_NARROW_WORDS,
  DNS_ROW,
  DNS_ROWS,
  DnsNameView,
  DnsRowView,
} from '../../vip/layout.gen.ts';
import type { Signing } from '../dnssec/signing.ts';
import { hashName } from '../name-table.ts';
import { RECORD_TYPE } from '../wire/numbers.ts';
import type { CompiledZones, SteeredName, ZoneNode } from '../zones.ts';
import { hashWords, nameBuckets, nameWords } from './name-hash.ts';
import { SectionLines, sectionOf, sumBytes } from './sections.ts';

/** In the order of rows: `DNS_ROWS` are these, each without and with DO. */
const TYPES = [RECORD_TYPE.A, RECORD_TYPE.AAAA, RECORD_TYPE.HTTPS] as const;
export type KernelType = 'a' | 'aaaa' | 'https';
const TYPE_NAMES: readonly KernelType[] = ['a', 'aaaa', 'https'];

/** Apart, since they are counted apart. */
const REASONS = ['free', 'full'] as const;

/** 16 bytes and hits of each CPU each. */
const MAX_ROWS = 4_000_000;

/** Whose answers a row's hits are. */
export interface RowMeaning {
  readonly service: string;
  readonly site: string;
  readonly type: KernelType;
  readonly policy: PolicyKind;
  readonly reason: 'free' | 'full';
  readonly isPositive: boolean;
}

interface Steering {
  readonly steering: ServiceSteering;
  readonly planBase: number;
}

export interface KernelTables {
  readonly names: Uint8Array;
  readonly buckets: BigUint64Array;
  /** Each once, with the line at which it begins. */
  readonly maps: readonly { readonly map: PrefixMap; readonly line: number }[];
  readonly nodeLines: number;
  readonly rows: Uint8Array;
  readonly lines: Uint8Array;
  readonly steerings: readonly Steering[];
  readonly plans: number;
  /** By row; undefined: of no answer. */
  readonly meanings: readonly (RowMeaning | undefined)[];
  /** Steered names that the kernel answers, and those that it leaves to the process. */
  readonly answered: number;
  readonly left: number;
}

/**
 * `isLeft`: services whose names the operator wants the process to answer. `signing`: of the same zones; its signatures, which end, are those
 * of `nowSeconds`.
 */
export function buildKernelTables(
  zones: CompiledZones,
  isLeft: (service: string) => boolean,
  signing: Signing | null = null,
  nowSeconds = 0,
): KernelTables {
  const nodes = zones.names.values().filter((node) => node.steered !== null);
  const draft = new Draft(signing, nowSeconds);
  let left = 0;
  for (const node of nodes) if (isLeft(node.steered!.service) || !draft.add(node, node.steered!)) left++;
  return draft.finish(left);
}

class Draft {
  readonly #names: { readonly words: BigUint64Array; readonly fields: readonly number[] }[] = [];
  readonly #maps = new Map<PrefixMap, number>();
  readonly #steerings = new Map<ServiceSteering, number>();
  readonly #rows: { readonly line: number; readonly section: ReturnType<typeof sectionOf> }[] = [];
  readonly #meanings: (RowMeaning | undefined)[] = [];
  readonly #lines = new SectionLines();
  readonly #signing: Signing | null;
  readonly #nowSeconds: number;
  #nodeLines = 0;
  #plans = 0;

  constructor(signing: Signing | null, nowSeconds: number) {
    this.#signing = signing;
    this.#nowSeconds = nowSeconds;
  }

  /** False: not from a table. */
  add(node: ZoneNode, steered: SteeredName): boolean {
    const words = nameWords(node.name);
    // Below a delegation, or with an alias, other rules hold.
    if (words === null || node.cut !== null || node.cname !== null) return false;
    const { steering } = steered;
    if (this.#rows.length + REASONS.length * steering.sites.length * DNS_ROWS > MAX_ROWS) return false;
    const subject = hashName(node.name).hashes[0];
    const rowBase = this.#rows.length;
    for (const reason of REASONS) for (const site of steering.sites.keys()) this.#addRows(node, steered, site, reason);
    const fields = [words.length, subject, this.#mapLine(steering.map), this.#planBase(steering), rowBase];
    this.#names.push({ words, fields });
    return true;
  }

  #addRows(node: ZoneNode, { service, steering }: SteeredName, site: number, reason: (typeof REASONS)[number]): void {
    const zone = this.#signing?.zoneOf(node.zone) ?? null;
    const signed = zone === null ? null : { zone, nowSeconds: this.#nowSeconds };
    const { policy, sites } = steering;
    for (const [index, type] of TYPES.entries()) {
      // Without and with DO.
      for (const variant of [null, signed]) {
        const section = sectionOf(node, type, [site], variant);
        this.#rows.push({ line: section === null ? 0 : this.#lines.add(section.bytes), section });
        const meaning = { service, site: sites[site], type: TYPE_NAMES[index], policy, reason };
        this.#meanings.push(section === null ? undefined : { ...meaning, isPositive: section.answers > 0 });
      }
    }
  }

  #mapLine(map: PrefixMap): number {
    const known = this.#maps.get(map);
    if (known !== undefined) return known;
    const line = this.#nodeLines;
    this.#maps.set(map, line);
    this.#nodeLines += Math.ceil(map.words.length / DNS_NARROW_WORDS);
    return line;
  }

  #planBase(steering: ServiceSteering): number {
    const known = this.#steerings.get(steering);
    if (known !== undefined) return known;
    const base = this.#plans;
    this.#steerings.set(steering, base);
    this.#plans += steering.plans.length;
    return base;
  }

  finish(left: number): KernelTables {
    return {
      names: this.#packNames(),
      buckets: nameBuckets(this.#names.map(({ words }) => hashWords(words))),
      maps: [...this.#maps].map(([map, line]) => ({ map, line })),
      nodeLines: this.#nodeLines,
      rows: this.#packRows(),
      lines: this.#lines.bytes,
      steerings: [...this.#steerings].map(([steering, planBase]) => ({ steering, planBase })),
      plans: this.#plans,
      meanings: this.#meanings,
      answered: this.#names.length,
      left,
    };
  }

  #packNames(): Uint8Array {
    const bytes = new ArrayBuffer(this.#names.length * DNS_NAME.sizeBytes);
    const view = new DnsNameView(bytes);
    for (const [index, { words, fields }] of this.#names.entries()) {
      view.at(index);
      [view.words, view.subject, view.nodeBase, view.planBase, view.rowBase] = fields;
      for (let i = 0; i < DNS_NAME_WORDS; i++) view.setText(i, words[i] ?? 0n);
    }
    return new Uint8Array(bytes);
  }

  #packRows(): Uint8Array {
    const bytes = new ArrayBuffer(this.#rows.length * DNS_ROW.sizeBytes);
    const view = new DnsRowView(bytes);
    for (const [index, { line, section }] of this.#rows.entries()) {
      if (section === null) continue;
      view.at(index);
      view.line = line;
      view.length = section.bytes.length;
      view.sum = sumBytes(section.bytes);
      view.answers = section.answers;
      view.authorities = section.authorities;
      view.kind = section.kind;
    }
    return new Uint8Array(bytes);
  }
}

/** Lines of `dns_choices` that so many plans take. */
export function choiceLines(plans: number): number {
  return Math.ceil(plans / DNS_LINE_CHOICES);
}

/**
 * What plans choose now, kept up to date in memory that the kernel reads: 1 + the site, behind those the same for sites that are full; 0 where the process has to answer, because answers
 * take turns, name several sites, or come with an explanation that nothing is healthy.
 */
export class KernelChoices {
  readonly #steerings: readonly Steering[];
  readonly #memory: Uint16Array;
  readonly #current = new CurrentChoices();
  readonly #last = new Map<ServiceSteering, unknown>();

  constructor(steerings: readonly Steering[], memory: Uint16Array) {
    this.#steerings = steerings;
    this.#memory = memory;
  }

  /** Cost: a look at each site of each service, and some microseconds for each plan of those that changed. */
  update(view: SteeringView): void {
    for (const { steering, planBase } of this.#steerings) {
      // The choices of a plan are the same object as long as nothing changed.
      const first = this.#current.of(steering, 0, view);
      if (this.#last.get(steering) === first) continue;
      this.#last.set(steering, first);
      for (const plan of steering.plans.keys()) {
        const { cycle, reason } = this.#current.of(steering, plan, view);
        const isOne = cycle.length === 1 && cycle[0].sites.length === 1 && reason !== 'static';
        const first = reason === 'full' ? steering.sites.length + 1 : 1;
        this.#memory[planBase + plan] = isOne ? first + cycle[0].sites[0] : 0;
      }
    }
  }
}
