/** Times in zone files: seconds, or numbers with units as BIND has them (`1h30m`, `2w`). */

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Whether a token could be meant as a time: names of classes and types begin with a letter. */
export function looksLikePeriod(text: string): boolean {
  return /^[0-9]/.test(text);
}

/** Seconds, at most `max`; null: no time, or longer. */
export function parsePeriod(text: string, max: number): number | null {
  if (/^[0-9]{1,10}$/.test(text)) return Number(text) <= max ? Number(text) : null;
  if (text.length > 40 || !/^([0-9]+[smhdw])+$/i.test(text)) return null;
  let seconds = 0;
  for (const [, digits, unit] of text.toLowerCase().matchAll(/([0-9]+)([smhdw])/g)) {
    seconds += Number(digits) * UNIT_SECONDS[unit];
  }
  return seconds <= max ? seconds : null;
}
