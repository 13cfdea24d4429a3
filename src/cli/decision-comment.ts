/** What became of a packet, as a comment in a capture file: written by `capture`, read by `replay`. */

export interface PastDecision {
  readonly outcome: string;
  /** Null: none. */
  readonly service: string | null;
  readonly backend: string | null;
  readonly balancer: string;
  readonly events: readonly string[];
}

/** `outcome=settled service=www backend=eu-1 balancer=eu-b1`: names have no blanks. */
export function writeDecision({ outcome, service, backend, balancer, events }: PastDecision): string {
  const parts = [`outcome=${outcome}`];
  if (service !== null) parts.push(`service=${service}`);
  if (backend !== null) parts.push(`backend=${backend}`);
  parts.push(`balancer=${balancer}`);
  if (events.length > 0) parts.push(`events=${events.join(',')}`);
  return parts.join(' ');
}

/** Null: the comment is not of that kind. */
export function readDecision(comment: string): PastDecision | null {
  const fields = new Map(
    comment.split(' ').flatMap((part): [string, string][] => {
      const at = part.indexOf('=');
      return at < 0 ? [] : [[part.slice(0, at), part.slice(at + 1)]];
    }),
  );
  const outcome = fields.get('outcome');
  if (outcome === undefined) return null;
  return {
    outcome,
    service: fields.get('service') ?? null,
    backend: fields.get('backend') ?? null,
    balancer: fields.get('balancer') ?? '',
    events: fields.get('events')?.split(',') ?? [],
  };
}
