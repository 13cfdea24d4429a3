/** Serial numbers of zones, which go round (RFC 1982): the other half of the numbers is older. */

/** Whether `a` is newer than `b`. Of two that are half a circle apart neither is. */
export function isNewer(a: number, b: number): boolean {
  const ahead = (a - b) >>> 0;
  return ahead > 0 && ahead < 0x8000_0000;
}

export function nextSerial(serial: number): number {
  return (serial + 1) >>> 0;
}

/** Of the hour in UTC, as YYYYMMDDHH: what a counted serial is at least, so that servers that count apart meet again. */
export function serialOfHour(nowMs: number): number {
  const digits = new Date(nowMs).toISOString().replaceAll(/[^0-9]/g, '');
  return Number(digits.slice(0, 10));
}
