/**
 * The 64-bit word of a slot (bpf/layout.h) as two 32-bit halves: current, previous, third (12 bits each), generation (16) and
 * tick (12), from the lowest bit up.
 */

export interface SlotFields {
  readonly current: number;
  readonly previous: number;
  readonly third: number;
  /** Mixed into fingerprints; raised when a settled slot becomes unsettled. */
  readonly generation: number;
  /** 0: settled. Else `tickOf` the clock at the last packet that went elsewhere than to `current`. */
  readonly tick: number;
}

export const INDEX_MASK = 0xfff;
export const GENERATION_MASK = 0xffff;
export const TICK_MASK = 0xfff;

/** By how many ticks the clock that wrote a tick may be ahead of the one that reads it, and room for `tickOf` at 0. */
const AHEAD_TICKS = 8;

/** The longest silence that can be told from a tick. */
export const MAX_SILENCE_TICKS = TICK_MASK - AHEAD_TICKS;

export function slotLow(current: number, previous: number, third: number): number {
  return (current | (previous << 12) | (third << 24)) >>> 0;
}

export function slotHigh(third: number, generation: number, tick: number): number {
  return ((third >>> 8) | (generation << 4) | (tick << 20)) >>> 0;
}

export function slotFields(low: number, high: number): SlotFields {
  return {
    current: low & INDEX_MASK,
    previous: (low >>> 12) & INDEX_MASK,
    third: (low >>> 24) | ((high & 0xf) << 8),
    generation: (high >>> 4) & GENERATION_MASK,
    tick: high >>> 20,
  };
}

/** The tick of an unsettled slot at `ticks` (clock >> 32): its low 12 bits, or 1 where that is 0. */
export function tickOf(ticks: number): number {
  return ticks & TICK_MASK || 1;
}

/**
 * For how many ticks a slot has been silent, at least: 0 to `MAX_SILENCE_TICKS`. Never more than the truth, so no slot settles too
 * early: what passed is only known modulo 4096 ticks (4.9 h), which takes whole rounds away and adds none; a tick that should be
 * 0 is written as 1, one too late; and one that looks as old as the range is long was written by a clock a moment
 * ahead, and counts as none.
 */
export function silenceTicks(nowTicks: number, tick: number): number {
  const passed = (nowTicks - tick) & TICK_MASK;
  return passed > MAX_SILENCE_TICKS ? 0 : passed;
}
