/** Scales and their marks, and numbers as people read them. */

export interface Scale {
  /** Of the values. */
  readonly from: number;
  readonly to: number;
  /** From a value to a place in the picture. */
  place(value: number): number;
}

export function linearScale(from: number, to: number, begin: number, end: number): Scale {
  const width = to - from || 1;
  return { from, to, place: (value) => begin + ((value - from) / width) * (end - begin) };
}

/** Round numbers from `from` to `to`, about `count` of them; at least one. */
export function roundMarks(from: number, to: number, count: number): number[] {
  const width = to - from;
  if (!(width > 0)) return [from];
  const rough = width / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10) * power;
  const marks: number[] = [];
  for (let mark = Math.ceil(from / step - 1e-9); mark * step <= to + step * 1e-9; mark++) marks.push(mark * step);
  return marks.length > 0 ? marks : [from];
}

/** Marks of a time of day: whole hours, or minutes where the run is short. */
export function hourMarks(hours: number): number[] {
  const step = [1 / 12, 1 / 6, 0.25, 0.5, 1, 2, 3, 4, 6, 12, 24].find((each) => hours / each <= 12) ?? 48;
  return Array.from({ length: Math.floor(hours / step + 1e-9) + 1 }, (_, index) => index * step);
}

/** `6 h`, `6:30`. */
export function formatHour(hour: number): string {
  const minutes = Math.round(hour * 60);
  return minutes % 60 === 0
    ? `${minutes / 60} h`
    : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}`;
}

/** Three significant digits, thousands as `k`, `M`, `G`. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  for (const [unit, factor] of [
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (size >= factor * 9.995 || (size >= factor && factor > 1e3)) return `${trim(value / factor)} ${unit}`;
  }
  return trim(value);
}

function trim(value: number): string {
  const size = Math.abs(value);
  if (size >= 100 || size === 0) return value.toFixed(0);
  const text = value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3);
  return text.replace(/\.?0+$/, '');
}

export function formatPercent(share: number, digits = 1): string {
  return Number.isFinite(share) ? `${(share * 100).toFixed(digits)} %` : '-';
}

/** Text as it stands between tags and in attributes. */
export function escapeText(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

/** A place in a picture, short. */
export function short(value: number): string {
  return Number.isFinite(value) ? String(Math.round(value * 10) / 10) : '0';
}
