/** HTTP connections of the traffic client: short ones, and ones that are kept and asked again and again. */
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:http';
import type { Socket } from 'node:net';
import type { ConnectionFacts } from './traffic-report.ts';

export interface Target {
  /** The VIP to connect to. */
  readonly address: string;
  readonly localAddress: string;
  /** For the Host header. */
  readonly name: string;
  readonly path: string;
  readonly limitMs: number;
}

interface Answer {
  readonly facts: ConnectionFacts;
  readonly socket: Socket;
  readonly tookMs: number;
}

function readFacts(
  response: IncomingMessage,
  target: Target,
  local: { address: string; port: number },
): ConnectionFacts {
  return {
    address: target.address,
    localAddress: local.address,
    localPort: local.port,
    backend: String(response.headers['x-backend'] ?? '?'),
    site: String(response.headers['x-site'] ?? '?'),
  };
}

function reasonOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message;
}

/** Sends one request and resolves with the answer; rejects with a short reason when there is none in time or a wrong one. */
function ask(target: Target, agent: Agent | false): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    const { address, localAddress, path } = target;
    const sent = request({ host: address, localAddress, path, agent, headers: { host: target.name } });
    const limit = setTimeout(
      () =>
        sent.destroy(
          new Error(`no ${sent.socket?.connecting === false ? 'answer' : 'connection'} in ${target.limitMs} ms`),
        ),
      target.limitMs,
    );
    const fail = (error: Error): void => {
      clearTimeout(limit);
      reject(new Error(reasonOf(error)));
    };
    sent.once('error', fail);
    sent.once('response', (response) => {
      const { socket } = response;
      const facts = readFacts(response, target, { address: socket.localAddress ?? '?', port: socket.localPort ?? 0 });
      response.once('error', fail);
      response.once('end', () => {
        clearTimeout(limit);
        if (response.statusCode === 200) resolve({ facts, socket, tookMs: performance.now() - startedAt });
        else reject(new Error(`status ${response.statusCode}`));
      });
      response.resume();
    });
    sent.end();
  });
}

/** One request on a connection of its own. */
export async function askOnce(target: Target): Promise<{ facts: ConnectionFacts; tookMs: number }> {
  return ask(target, false);
}

/** A connection that is kept. It is open from `open()` until it is lost or closed, and never opens a second socket. */
export class KeptConnection {
  readonly #target: Target;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #onLost: (why: string) => void;
  #socket: Socket | null = null;
  #over = false;

  /** `onLost` is called at most once, and only for an open connection that was not closed by `close()`. */
  constructor(target: Target, onLost: (why: string) => void) {
    this.#target = target;
    this.#onLost = onLost;
  }

  /** Connects and asks for the first time; rejects with the reason when that fails. */
  async open(): Promise<ConnectionFacts> {
    try {
      const answer = await ask(this.#target, this.#agent);
      this.#socket = answer.socket;
      answer.socket.once('close', () => this.#lose('closed by the other end'));
      if (answer.socket.destroyed) throw new Error('closed after the first answer');
      return answer.facts;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Asks again; resolves with the time it took, or null when the connection is lost, which `onLost` tells. */
  async again(): Promise<number | null> {
    try {
      const answer = await ask(this.#target, this.#agent);
      if (answer.socket !== this.#socket) this.#lose('closed by the other end');
      return this.#over ? null : answer.tookMs;
    } catch (error) {
      this.#lose((error as Error).message);
      return null;
    }
  }

  close(): void {
    this.#over = true;
    this.#agent.destroy();
  }

  #lose(why: string): void {
    if (this.#over) return;
    this.close();
    this.#onLost(why);
  }
}
