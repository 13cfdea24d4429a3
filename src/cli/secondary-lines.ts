/** Secondaries of a name server in lines for people. */
import type { SecondaryStatus } from '../api/source.ts';

export function secondaryLines(secondaries: readonly SecondaryStatus[], nowMs: number): string[] {
  const ago = (atMs: number) => `${Math.max(0, Math.round((nowMs - atMs) / 1000))} s ago`;
  return secondaries.map(({ secondary, zone, ours, serial, transfer, notify }) => {
    const has =
      serial === null ? 'never asked here' : serial === ours ? `has ${serial}` : `has ${serial}, ours is ${ours}`;
    const parts = [has];
    if (transfer !== null) {
      const { kind, records, bytes, isWhole, atMs } = transfer;
      const what = kind === 'current' ? 'was current' : `${kind} of ${records} records, ${bytes} bytes`;
      parts.push(`${what}${isWhole ? '' : ', CUT OFF'}, ${ago(atMs)}`);
    }
    if (notify !== null) parts.push(`NOTIFY of ${notify.serial} ${notify.result}, ${ago(notify.atMs)}`);
    return `  secondary ${secondary}, zone ${zone}: ${parts.join('; ')}`;
  });
}
