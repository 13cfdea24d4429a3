/** What the traffic client and its parent say to each other: the client's options, and its reports, one JSON object a line. */

export interface TrafficClientOptions {
  /** Addresses of resolvers, asked in turn. */
  readonly resolvers: readonly string[];
  readonly name: string;
  readonly path: string;
  /** Connections kept open. */
  readonly kept: number;
  /** Short connections begun each second, evenly; may be 0. */
  readonly newPerSecond: number;
  /** Share of connections made to an AAAA address, 0 to 1. */
  readonly ipv6Share: number;
  /** Pause between an answer and the next request of a kept connection. */
  readonly pauseMs: number;
  /** A connection attempt or a request without an answer for so long has failed. */
  readonly limitMs: number;
  /** Own addresses to use in turn. */
  readonly sources4: readonly string[];
  readonly sources6: readonly string[];
}

/** Which connection a report is about and who answers on it. */
export interface ConnectionFacts {
  /** The VIP. */
  readonly address: string;
  readonly localAddress: string;
  readonly localPort: number;
  readonly backend: string;
  readonly site: string;
}

/** `atMs` is milliseconds since 1970, by one clock for all clients. */
export type TrafficReport =
  /** A kept connection has had its first answer. */
  | ({ readonly kind: 'opened'; readonly atMs: number; readonly id: number } & ConnectionFacts)
  /** A kept connection is lost; it is opened anew. */
  | ({ readonly kind: 'broken'; readonly atMs: number; readonly id: number; readonly why: string } & ConnectionFacts)
  /** A kept connection could not be opened; it is tried again. */
  | {
      readonly kind: 'unopened';
      readonly atMs: number;
      readonly id: number;
      readonly address: string | null;
      readonly why: string;
    }
  /** A short connection has had its answer. */
  | ({ readonly kind: 'new'; readonly atMs: number; readonly tookMs: number } & ConnectionFacts)
  /** A short connection has failed; no address: the name was not resolved. `atMs` is when it was begun. */
  | { readonly kind: 'failed'; readonly atMs: number; readonly address: string | null; readonly why: string }
  /** Answers on kept connections since the last pulse, and the longest time that one took. */
  | { readonly kind: 'pulse'; readonly atMs: number; readonly answers: number; readonly slowestMs: number };
