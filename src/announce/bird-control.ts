/** BIRD's control socket, spoken to directly: what birdc does, without a process for each command. */
import { connect } from 'node:net';

export interface BirdReply {
  /** The last line's code: 0xxx and 1xxx are success, 8xxx errors of the command, 9xxx of its syntax. */
  readonly code: number;
  /** The lines without their codes. */
  readonly lines: readonly string[];
}

/** Collects a reply from the text that arrives; a reply ends with the line whose code is followed by a space. */
export class BirdReplyReader {
  #rest = '';
  #lines: string[] = [];

  /** Returns the reply that is complete with this text, or null. Text after it is kept for the next one. */
  feed(text: string): BirdReply | null {
    this.#rest += text;
    for (let end = this.#rest.indexOf('\n'); end >= 0; end = this.#rest.indexOf('\n')) {
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + 1);
      const coded = /^(\d{4})([ -])(.*)$/.exec(line);
      this.#lines.push(coded ? coded[3] : line.slice(1)); // continued lines begin with a space, messages with "+"
      if (coded?.[2] === ' ') {
        const reply = { code: Number(coded[1]), lines: this.#lines };
        this.#lines = [];
        return reply;
      }
    }
    return null;
  }
}

/** Sends one command and returns its reply, whatever its code. Rejects when the socket does not answer in time. */
export function birdCommand(socketPath: string, command: string, timeoutMs = 5000): Promise<BirdReply> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    const reader = new BirdReplyReader();
    let greeted = false;
    const fail = (why: string): void => {
      socket.destroy();
      reject(new Error(`BIRD at ${socketPath}: ${command}: ${why}`));
    };
    socket.setEncoding('utf8');
    // In two halves: when this thread was held up, the first may be over before the answer that is there has been read.
    let halves = 0;
    socket.setTimeout(timeoutMs / 2);
    socket.on('timeout', () => {
      if (++halves === 2) fail(`no answer in ${timeoutMs} ms`);
      else socket.setTimeout(timeoutMs / 2);
    });
    socket.on('error', (error) => fail(error.message));
    socket.on('end', () => fail('the connection was closed before the reply was complete'));
    socket.on('data', (text) => {
      halves = 0;
      let reply = reader.feed(String(text));
      if (reply !== null && !greeted) {
        greeted = true; // 0001 BIRD 2.0.12 ready.
        socket.write(`${command}\n`);
        reply = reader.feed('');
      }
      if (reply !== null) {
        socket.destroy();
        resolve(reply);
      }
    });
  });
}

export interface BirdProtocol {
  readonly name: string;
  readonly type: string;
  /** up, start, down ... */
  readonly state: string;
  /** For BGP: Established, Active, Connect, Idle, with the last error. */
  readonly info: string;
}

/** Reads the table that `show protocols` prints. */
export function parseProtocols(reply: BirdReply): BirdProtocol[] {
  const protocols: BirdProtocol[] = [];
  for (const line of reply.lines) {
    const [name, type, , state, , ...info] = line.trim().split(/\s+/);
    if (name && type && state && name !== 'Name') protocols.push({ name, type, state, info: info.join(' ') });
  }
  return protocols;
}
