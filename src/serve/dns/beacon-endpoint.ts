/**
 * Where browsers fetch the names that were made for them: joins the prefix of the user with that of the resolver. No cookies, nothing is written
 * down but the two prefixes, nothing is read but the host's name.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { BeaconSettings } from '../../config/model.ts';
import { parseAddress } from '../../net/address.ts';
import { type BeaconNotes, NONCE_PATTERN } from './beacon-notes.ts';
import { beaconScript } from './beacon-script.ts';
import type { AskerPrefix } from './kernel/askers.ts';

/** Beacons of a user's prefix in a minute, and prefixes that are counted in it; of more prefixes none is taken until the minute is over. */
const BY_PREFIX = 30;
const PREFIXES = 65_536;
const MINUTE_MS = 60_000;
/** Joined and not yet taken. */
const JOINED = 100_000;
const CONNECTIONS = 1000;
const HEADER_BYTES = 8192;
const HEADERS_MS = 5000;
const REQUEST_MS = 10_000;

export interface JoinedBeacon {
  readonly resolver: AskerPrefix;
  readonly user: AskerPrefix;
}

export interface BeaconCounters {
  joined: number;
  /** No query for the name was seen, or by resolvers of several prefixes. */
  unknown: number;
  limited: number;
  /** No room for what was joined. */
  dropped: number;
  refused: number;
}

export interface BeaconEndpointOptions {
  readonly settings: BeaconSettings;
  /** Of the name servers of this process. */
  readonly notes: () => Iterable<BeaconNotes>;
  readonly nowMs: () => number;
}

export class BeaconEndpoint {
  readonly counters: BeaconCounters = { joined: 0, unknown: 0, limited: 0, dropped: 0, refused: 0 };
  readonly #options: BeaconEndpointOptions;
  readonly #script: string;
  readonly #servers: Server[] = [];
  #joined: JoinedBeacon[] = [];
  readonly #byPrefix = new Map<string, number>();
  #minuteMs = 0;

  constructor(options: BeaconEndpointOptions) {
    this.#options = options;
    this.#script = beaconScript(options.settings.name);
  }

  /** Listens on all addresses, or rejects. Throws when certificate or key cannot be read. */
  async start(): Promise<void> {
    const { listen, certificate, key } = this.#options.settings;
    const limits = { maxHeaderSize: HEADER_BYTES, headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS };
    const answer = (request: IncomingMessage, response: ServerResponse): void => this.#answer(request, response);
    for (const { host, port } of listen) {
      const server =
        certificate === null || key === null
          ? createServer(limits, answer)
          : createTlsServer({ ...limits, cert: readFileSync(certificate), key: readFileSync(key) }, answer);
      server.maxConnections = CONNECTIONS;
      server.keepAliveTimeout = 1;
      this.#servers.push(server);
      try {
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject);
          server.listen(port, host, resolve);
        });
      } catch (error) {
        await this.close();
        throw error;
      }
      server.on('error', () => undefined);
    }
  }

  async close(): Promise<void> {
    const closing = this.#servers.splice(0).map((server) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    });
    await Promise.all(closing);
  }

  /** Ports, in the order of `listen`. */
  ports(): number[] {
    return this.#servers.map((server) => {
      const bound = server.address();
      return bound === null || typeof bound === 'string' ? 0 : bound.port;
    });
  }

  /** What was joined since the last call. */
  take(): readonly JoinedBeacon[] {
    const joined = this.#joined;
    this.#joined = [];
    return joined;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('connection', 'close');
    const path = (request.url ?? '/').split('?', 1)[0];
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      this.#end(response, 405);
    } else if (path === '/beacon.js') {
      response.setHeader('content-type', 'text/javascript; charset=utf-8');
      response.setHeader('cache-control', 'max-age=3600');
      response.end(request.method === 'HEAD' ? undefined : this.#script);
    } else if (path === '/b') {
      response.setHeader('cache-control', 'no-store');
      this.#end(response, this.#join(request) ? 204 : 404);
    } else this.#end(response, 404);
  }

  #end(response: ServerResponse, status: number): void {
    if (status === 404 || status === 405) this.counters.refused++;
    response.statusCode = status;
    response.end();
  }

  /** False: this is no such name. */
  #join({ headers, socket }: IncomingMessage): boolean {
    const { name } = this.#options.settings;
    const host = (headers.host ?? '').toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '');
    if (!host.endsWith(`.${name}`)) return false;
    const nonce = host.slice(0, -name.length - 1);
    const user = prefixOf(socket.remoteAddress ?? '');
    if (!NONCE_PATTERN.test(nonce) || user === null) return false;
    const nowMs = this.#options.nowMs();
    if (!this.#mayCount(user, nowMs)) {
      this.counters.limited++;
      return true;
    }
    for (const notes of this.#options.notes()) {
      const resolver = notes.take(nonce, nowMs);
      if (resolver === null) continue;
      if (this.#joined.length < JOINED) {
        this.#joined.push({ resolver, user });
        this.counters.joined++;
      } else this.counters.dropped++;
      return true;
    }
    this.counters.unknown++;
    return true;
  }

  #mayCount({ family, bytes }: AskerPrefix, nowMs: number): boolean {
    if (nowMs - this.#minuteMs >= MINUTE_MS) {
      this.#byPrefix.clear();
      this.#minuteMs = nowMs;
    }
    const key = `${family}.${bytes.subarray(0, 6).join('.')}`;
    const count = this.#byPrefix.get(key) ?? 0;
    if (count >= BY_PREFIX || (count === 0 && this.#byPrefix.size >= PREFIXES)) return false;
    this.#byPrefix.set(key, count + 1);
    return true;
  }
}

/** The /24 or /48; null: no address. */
function prefixOf(text: string): AskerPrefix | null {
  const address = parseAddress(text.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, ''));
  if (address === null) return null;
  const { family } = address;
  const bytes = new Uint8Array(16);
  bytes.set(address.bytes.subarray(0, family === 4 ? 3 : 6));
  return { family, length: family === 4 ? 24 : 48, bytes };
}
