/**
 * Who may change something. Without a token only programs on this machine may; with one, whoever sends it. A web page of
 * somebody else's, opened in a browser on this machine, may not: neither by sending requests across origins, nor by
 * pointing its own name at our address (DNS rebinding).
 */
import { timingSafeEqual } from 'node:crypto';

export interface Caller {
  /** Address that the connection comes from. */
  readonly peer: string;
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly authorization: string | undefined;
}

/** Null: it may. Else why not, and what would help. */
export function refuseChange(caller: Caller, token: string | null): { error: string; remedy: string } | null {
  if (caller.origin !== undefined && originHost(caller.origin) !== caller.host?.toLowerCase()) {
    return {
      error: 'the request comes from a page of another origin',
      remedy: 'use the page or the command line of Portico',
    };
  }
  if (token !== null) {
    if (caller.authorization !== undefined && sameText(caller.authorization, `Bearer ${token}`)) return null;
    return { error: 'the token is missing or wrong', remedy: 'send it in the header "authorization: Bearer TOKEN"' };
  }
  if (!isLoopback(caller.peer)) {
    return {
      error: 'only programs on this machine may change something',
      remedy: 'run the command on the machine of Portico',
    };
  }
  if (caller.host !== undefined && !isAddressOrLocal(caller.host)) {
    return { error: `"${caller.host}" is no name of this API`, remedy: 'call it by its address or as localhost' };
  }
  return null;
}

function originHost(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

export function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}

/** A name that somebody else could point here is neither. */
function isAddressOrLocal(host: string): boolean {
  const name = host.replace(/:[0-9]+$/, '').toLowerCase();
  return name === 'localhost' || /^[0-9.]+$/.test(name) || /^\[[0-9a-f:.]+\]$/.test(name);
}
