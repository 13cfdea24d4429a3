/** What is served: plain data that threads hand to each other, and what answers are made from. */
import type { Config } from '../../config/model.ts';
import type { SteeringView } from '../../decide/steer/nearest.ts';
import { sipHashKey } from '../../model/siphash.ts';
import { Draws } from './draws.ts';
import type { AnswerSources } from './exchange.ts';
import { createIdentity, type ServerIdentity } from './server-record.ts';
import { compileZones, type ZonesResult } from './zone-compile.ts';

/** Can be cloned (`structuredClone`). */
export interface Served {
  readonly config: Config;
  /** Told to who asks for it, if the configuration lets it. */
  readonly serverName: string | null;
  readonly epoch: string | null;
  /** Of cookies, where the configuration has no secrets: 16 bytes. */
  readonly ownSecret: Uint8Array;
  /** Of `Draws`, which all threads share: a client's next question comes to another one. */
  readonly draws: SharedArrayBuffer;
}

export type ServedResult =
  | {
      readonly ok: true;
      readonly sources: AnswerSources;
      readonly warnings: Extract<ZonesResult, { ok: true }>['warnings'];
    }
  | Extract<ZonesResult, { ok: false }>;

export function compileServed(served: Served, view: SteeringView): ServedResult {
  const { config } = served;
  const compiled = compileZones(config);
  if (!compiled.ok) return compiled;
  const { zones, warnings } = compiled;
  return {
    ok: true,
    sources: {
      zones,
      view,
      identity: identityOf(served),
      cookieKeys: cookieKeysOf(served),
      draws: new Draws(served.draws),
    },
    warnings,
  };
}

function identityOf({ config, serverName, epoch }: Served): ServerIdentity {
  const { tell } = config.dnsProtocol;
  return createIdentity(tell.version, tell.server ? serverName : null, tell.epoch ? epoch : null);
}

function cookieKeysOf({ config, ownSecret }: Served): Uint32Array[] {
  const { isEnabled, secrets } = config.dnsProtocol.cookies;
  if (!isEnabled) return [];
  return secrets.length === 0 ? [sipHashKey(ownSecret)] : secrets.map(sipHashKey);
}
