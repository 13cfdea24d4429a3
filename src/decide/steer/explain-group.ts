/** Why a group has what it has: all sites with their estimates, what they cost, and what stands against them. */

import { ITEM_STATES, type ItemState } from './control/limits.ts';
import type { ControlState } from './control-state.ts';
import type { SteeredGroups } from './demand/groups.ts';
import { NO_SITE, type SiteShare } from './measured.ts';
import {
  type CandidateExplanation,
  type CandidateNote,
  type GroupExplanation,
  PATH_LINKS,
  type SteeringModel,
} from './measured-model.ts';
import type { RttMap } from './rtt/rtt-map.ts';
import { type Target, waitCost } from './target.ts';

/** Places that are told, and that intervals are made from. */
const TOLD_PLACES = 10;
/** A price below this decides nothing. */
const SOME_MS = 0.5;
/** An interval wider than this share of its value rests on little. */
const WIDE_SHARE = 0.5;

export interface ExplainInput {
  readonly model: SteeringModel;
  readonly groups: SteeredGroups;
  readonly rtt: RttMap;
  readonly rttMs: Float32Array;
  readonly control: ControlState;
  readonly target: Target;
  /** [class item of the group's own map]: shares that are answered to this asker. */
  readonly answered: readonly SiteShare[];
  readonly explores: number;
  readonly paths: Int32Array;
}

const NOTES: Partial<Record<ItemState, CandidateNote>> = {
  'too little gain': 'too little gain to move',
  'moved lately': 'moves later: it moved lately',
  'step is full': 'moves later: step is limited',
  'hour is full': 'moves later: step is limited',
  'no room at the site': 'site is full',
  'no room on a link': 'link is full',
  'site recovers': 'site recovers',
};

/** `asker`: place among `groups.askers`. Cost: some microseconds a site. */
export function explainGroup(input: ExplainInput, asker: number, c: number): GroupExplanation {
  const { groups, model } = input;
  const group = groups.groupOf[asker];
  const classes = model.classes.length;
  const places = largestPlaces(groups, group);
  const candidates = model.classes[c].sites.map((site) => candidateOf(input, places, group, c, site));
  return {
    group: groups.askers[asker],
    class: c,
    demand: groups.demand[group * classes + c] * groups.partOf[asker],
    places,
    candidates: candidates.sort((a, b) => (a.cost === b.cost ? a.site - b.site : a.cost - b.cost)),
  };
}

function largestPlaces({ begin, prefix, share }: SteeredGroups, group: number) {
  const places: { prefix: number; share: number }[] = [];
  for (let at = begin[group]; at < begin[group + 1]; at++) places.push({ prefix: prefix[at], share: share[at] });
  return places.sort((a, b) => b.share - a.share).slice(0, TOLD_PLACES);
}

function candidateOf(
  input: ExplainInput,
  places: readonly { prefix: number; share: number }[],
  group: number,
  c: number,
  site: number,
): CandidateExplanation {
  const { model, rtt, rttMs, target, groups, answered, control } = input;
  const [sites, classes] = [model.sites.length, model.classes.length];
  const ms = rttMs[group * sites + site];
  let [below, above, sum, most] = [0, 0, 0, -1];
  let source = 'distance';
  const bySource = new Map<string, number>();
  for (const { prefix, share } of places) {
    const estimate = rtt.estimate(prefix, site);
    below += share * (estimate.value - estimate.low);
    above += share * (estimate.high - estimate.value);
    sum += share;
    const weight = (bySource.get(estimate.source) ?? 0) + share;
    bySource.set(estimate.source, weight);
    if (weight <= most) continue;
    most = weight;
    source = estimate.source;
  }
  const lowMs = Math.max(0, ms - below / sum);
  const highMs = ms + above / sum;
  const isUp = control.health.up[c * sites + site] === 1;
  const scarcity = target.scarcityMs[(groups.region[group] * classes + c) * sites + site];
  const share = answered.find((its) => its.site === site)?.share ?? 0;
  return {
    site,
    rttMs: ms,
    lowMs,
    highMs,
    source,
    share,
    cost: isUp ? waitCost(ms) + scarcity : Infinity,
    notes: isUp ? notesOf(input, group, c, site, share, highMs - lowMs > WIDE_SHARE * ms) : ['site is down'],
  };
}

function notesOf(
  input: ExplainInput,
  group: number,
  c: number,
  site: number,
  share: number,
  isWide: boolean,
): CandidateNote[] {
  const { model, target, groups, control, paths, explores } = input;
  const [sites, classes] = [model.sites.length, model.classes.length];
  const item = group * classes + c;
  const notes: CandidateNote[] = [];
  if (share > 0) notes.push(explores === site ? 'tried, to measure it' : 'chosen');
  if (target.sitePriceMs[site] > SOME_MS) notes.push('site is full');
  for (let n = 0; n < PATH_LINKS; n++) {
    const link = paths[(groups.region[group] * sites + site) * PATH_LINKS + n];
    if (link >= 0 && target.linkPriceMs[link] > SOME_MS) notes.push('link is full');
  }
  const isTarget = target.site[item] === site && target.site[item] !== NO_SITE;
  const state = control.stateOf(item);
  const held = state === null ? undefined : NOTES[ITEM_STATES[state]];
  if (share === 0 && isTarget && held !== undefined) notes.push(held);
  else if (share === 0 && notes.length === 0) notes.push(model.classes[c].kind === 'latency' ? 'slower' : 'costs more');
  if (isWide) notes.push('too few data');
  return notes;
}
