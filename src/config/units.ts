/** Quantities as an operator writes them: `30s`, `10Gbit/s`, `50%`, `20k/s`. A reader gives the value or what is wrong. */

export type Reading<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly message: string; readonly remedy: string };

/** Milliseconds. */
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Bits per second. */
const BANDWIDTH_UNITS: Readonly<Record<string, number>> = {
  'bit/s': 1,
  'kbit/s': 1e3,
  'Mbit/s': 1e6,
  'Gbit/s': 1e9,
  'Tbit/s': 1e12,
};

/** Bytes. */
const SIZE_UNITS: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** Events per second. */
const RATE_UNITS: Readonly<Record<string, number>> = { '/s': 1, 'k/s': 1e3, 'M/s': 1e6 };

export function wrong<T>(message: string, remedy: string): Reading<T> {
  return { ok: false, message, remedy };
}

function right<T>(value: T): Reading<T> {
  return { ok: true, value };
}

/** Number and unit, which may be separated by spaces; the unit is told apart by letter case. */
function readQuantity(
  raw: unknown,
  units: Readonly<Record<string, number>>,
  noun: string,
  example: string,
): Reading<number> {
  const remedy = `write a number with its unit (${Object.keys(units).join(', ')}), like ${example}`;
  if (typeof raw === 'number') return wrong(`a ${noun} needs a unit`, remedy);
  const match = typeof raw === 'string' ? /^([0-9]+(?:\.[0-9]+)?)\s*(\S*)$/.exec(raw.trim()) : null;
  if (match === null) return wrong(`this is not a ${noun}`, remedy);
  const [, digits, unit] = match;
  if (unit === '') return wrong(`a ${noun} needs a unit`, remedy);
  if (Object.hasOwn(units, unit)) return right(Number(digits) * units[unit]);
  const meant = Object.keys(units).find((known) => known.toLowerCase() === unit.toLowerCase());
  return wrong(`"${unit}" is not a unit of a ${noun}`, meant === undefined ? remedy : `write ${digits}${meant}`);
}

/** `500ms`, `30s`, `5m`, `1h`, `14d`: milliseconds, at least `min`, at most `max`. */
export function readDuration(raw: unknown, min: number, max: number): Reading<number> {
  const reading = readQuantity(raw, DURATION_UNITS, 'duration', '30s');
  if (!reading.ok) return reading;
  if (!Number.isInteger(reading.value)) {
    return wrong('a duration is a whole number of milliseconds', 'write it in ms, like 1500ms');
  }
  if (reading.value >= min && reading.value <= max) return reading;
  return wrong(
    'the duration is out of range',
    `write a duration from ${formatDuration(min)} to ${formatDuration(max)}`,
  );
}

/** As `readDuration`, but whole seconds, as DNS has them; bounds and result in seconds. */
export function readSeconds(raw: unknown, min: number, max: number): Reading<number> {
  const reading = readDuration(raw, min * 1000, max * 1000);
  if (!reading.ok || reading.value % 1000 === 0) return reading.ok ? right(reading.value / 1000) : reading;
  return wrong('a time in DNS is a whole number of seconds', `write ${Math.ceil(reading.value / 1000)}s`);
}

/** In the largest unit that has no fraction. */
export function formatDuration(ms: number): string {
  let best = `${ms}ms`;
  for (const [unit, size] of Object.entries(DURATION_UNITS)) {
    if (ms >= size && ms % size === 0) best = `${ms / size}${unit}`;
  }
  return best;
}

/** `10Gbit/s`: bits per second, above 0. */
export function readBandwidth(raw: unknown): Reading<number> {
  const reading = readQuantity(raw, BANDWIDTH_UNITS, 'bandwidth', '10Gbit/s');
  return reading.ok && reading.value <= 0
    ? wrong('a bandwidth is above 0', 'write a bandwidth like 10Gbit/s')
    : reading;
}

/** `64MiB`: bytes, at least `min`, at most `max`. */
export function readBytes(raw: unknown, min: number, max: number): Reading<number> {
  const reading = readQuantity(raw, SIZE_UNITS, 'size', '64MiB');
  if (!reading.ok || (reading.value >= min && reading.value <= max)) {
    return reading.ok ? right(Math.floor(reading.value)) : reading;
  }
  return wrong('the size is out of range', `write a size from ${formatBytes(min)} to ${formatBytes(max)}`);
}

/** In the largest unit that has no fraction; whole KiB. */
function formatBytes(bytes: number): string {
  let best = '';
  for (const [unit, size] of Object.entries(SIZE_UNITS))
    if (bytes >= size && bytes % size === 0) best = `${bytes / size}${unit}`;
  return best;
}

/** `20000/s`, `20k/s`: events per second, above 0. */
export function readRate(raw: unknown): Reading<number> {
  const reading = readQuantity(raw, RATE_UNITS, 'rate', '20000/s');
  return reading.ok && reading.value <= 0 ? wrong('a rate is above 0', 'write a rate like 20000/s') : reading;
}

/** `50%`: a share from 0 (`aboveZero`: above 0) to 1. */
export function readShare(raw: unknown, aboveZero: boolean): Reading<number> {
  const remedy = `write a share in percent, ${aboveZero ? 'above 0%' : 'from 0%'} to 100%`;
  const match = typeof raw === 'string' ? /^([0-9]+(?:\.[0-9]+)?)\s*%$/.exec(raw.trim()) : null;
  if (match === null) return wrong('this is not a share', remedy);
  const share = Number(match[1]) / 100;
  return share > 1 || (aboveZero && share === 0) ? wrong('the share is out of range', remedy) : right(share);
}

export function readInteger(raw: unknown, min: number, max: number): Reading<number> {
  const range = Number.isFinite(max) ? `from ${min} to ${max}` : `of at least ${min}`;
  const remedy = `write a whole number ${range}`;
  if (typeof raw !== 'number' || !Number.isInteger(raw)) return wrong('this is not a whole number', remedy);
  return raw < min || raw > max ? wrong('the number is out of range', remedy) : right(raw);
}

/** A number above 0 (`exclusiveMin` 0) or from `min` on, up to `max`. */
export function readNumber(raw: unknown, min: number, max: number, aboveMin = false): Reading<number> {
  const remedy = `write a number ${aboveMin ? `above ${min}, at most` : `from ${min} to`} ${max}`;
  if (typeof raw !== 'number' || !Number.isFinite(raw)) return wrong('this is not a number', remedy);
  return raw > max || raw < min || (aboveMin && raw === min) ? wrong('the number is out of range', remedy) : right(raw);
}
