/** Which sites an answer tells: the client's plan by the map, its choices as things are, and the turn of the client in their cycle. */
import { CurrentChoices } from '../../decide/steer/current-choices.ts';
import type { Choice, ChoiceReason } from '../../decide/steer/plan.ts';
import { addressBits } from '../../net/address.ts';
import { lookupPrefix, prefixScope, prefixValue } from '../../net/prefix-map.ts';
import { setOfSites } from './choice-sets.ts';
import { Draws, hashClient } from './draws.ts';
import type { AnswerSources, Asker } from './exchange.ts';
import { RECORD_TYPE } from './wire/numbers.ts';
import type { Query } from './wire/query.ts';
import type { RecordSet, SteeredName } from './zones.ts';

/** Resolvers of one operator ask from neighbouring addresses. */
const RESOLVER_BITS = { 4: 24, 6: 48 } as const;

/** One answer at a time; what was found stays here until the next. */
export class Chooser {
  choice: Choice = { sites: [0] };
  reason: ChoiceReason = 'free';
  /** Of the client subnet; 0 without one. */
  scopeLength = 0;
  readonly #choices = new CurrentChoices();
  readonly #ownDraws = new Draws();
  /** Of choices with several sites, by type. */
  readonly #sets = new WeakMap<Choice, Map<number, RecordSet>>();

  /** When other zones come. */
  clear(): void {
    this.#choices.clear();
  }

  /** By client subnet if the query has one with an address, else by whom the query came from. */
  choose(steered: SteeredName, query: Query, message: Uint8Array, asker: Asker, sources: AnswerSources): void {
    const { steering } = steered;
    const { subnetFamily, subnetSourceLength } = query;
    const bySubnet = query.hasEdns && query.hasSubnet && subnetFamily !== 0 && subnetSourceLength > 0;
    const { client } = asker;
    const family = bySubnet ? subnetFamily : client.family;
    const bytes = bySubnet ? message : client.bytes;
    const start = bySubnet ? query.subnetStart + 4 : 0;
    const found = lookupPrefix(steering.map, family, bytes, start, bySubnet ? subnetSourceLength : addressBits(family));
    this.scopeLength = bySubnet ? prefixScope(found) : 0;
    const plan = prefixValue(found);
    const { cycle, reason } = this.#choices.of(steering, plan, sources.view);
    this.reason = reason;
    this.choice = cycle[0];
    if (cycle.length === 1) return;
    const number = this.#choices.numberOf(steering, plan);
    const bits = bySubnet ? Math.min(this.scopeLength, subnetSourceLength) : RESOLVER_BITS[family];
    const draws = sources.draws ?? this.#ownDraws;
    const who = hashClient(number, bytes, start, bits);
    const type = typeBit(query.type);
    let draw = draws.find(who, type, asker.nowMs);
    if (draw < 0) {
      draw = this.#choices.nextTurn(steering, plan);
      draws.keep(who, type, asker.nowMs, draw);
    }
    this.choice = cycle[draw % cycle.length];
  }

  /** Of the choice; `sets`: one a site, of one type. */
  setOf(sets: readonly RecordSet[]): RecordSet {
    const { choice } = this;
    if (choice.sites.length === 1) return sets[choice.sites[0]];
    let merged = this.#sets.get(choice);
    if (merged === undefined) {
      merged = new Map();
      this.#sets.set(choice, merged);
    }
    const { type } = sets[0];
    let set = merged.get(type);
    if (set === undefined) {
      set = setOfSites(sets, choice.sites);
      merged.set(type, set);
    }
    return set;
  }
}

function typeBit(type: number): number {
  if (type === RECORD_TYPE.A) return 1;
  return type === RECORD_TYPE.AAAA ? 2 : 4;
}
