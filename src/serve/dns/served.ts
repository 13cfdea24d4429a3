/** What is served: plain data that threads hand to each other, and what answers are made from. */
import { randomBytes } from 'node:crypto';
import type { Config } from '../../config/model.ts';
import type { SteeringView } from '../../decide/steer/nearest.ts';
import { sipHashKey } from '../../model/siphash.ts';
import { type ExportedSignature, importedSignatures } from './dnssec/exported-signatures.ts';
import type { ZoneKeys } from './dnssec/key-roll.ts';
import { Signing } from './dnssec/signing.ts';
import type { SigningCounters } from './dnssec/signing-counters.ts';
import { Draws } from './draws.ts';
import type { AnswerSources } from './exchange.ts';
import { createIdentity, type ServerIdentity } from './server-record.ts';
import { compileZones, type ZonesResult } from './zone-compile.ts';
import type { CompiledZones } from './zones.ts';

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
  /** Of signed zones; secret. */
  readonly keys: readonly ZoneKeys[];
  /** Of their sets, so far as they are made. */
  readonly signatures: readonly ExportedSignature[];
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

/** What a thread signs with, and the signatures that it was given; null: no zone is signed. */
export function signingOf({ config, keys, signatures }: Served, zones: CompiledZones, counters: SigningCounters) {
  if (keys.length === 0) return null;
  const { dnssec } = config.dnsProtocol;
  const settings = {
    times: {
      validitySeconds: Math.floor(dnssec.validityMs / 1000),
      renewBeforeSeconds: Math.floor(dnssec.renewBeforeMs / 1000),
    },
    rates: { perSecond: dnssec.denialsPerSecond, perClientPerSecond: dnssec.clientDenialsPerSecond },
  };
  const signing = new Signing(zones, keys, settings, randomBytes(4).readUInt32LE(0), counters);
  if (signatures.length === 0) return signing;
  const earlier = importedSignatures(signatures);
  for (const zone of signing.zones) zone.earlier = earlier;
  return signing;
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
