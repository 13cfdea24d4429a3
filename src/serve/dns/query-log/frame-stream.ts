/**
 * Frame Streams, the transport of dnstap: frames with a length of 32 bits before them, and control frames after a length of 0.
 * https://farsightsec.github.io/fstrm/; the words are those of its control frames.
 */

export const CONTROL = { accept: 1, start: 2, stop: 3, ready: 4, finish: 5 } as const;
export type ControlType = (typeof CONTROL)[keyof typeof CONTROL];

const CONTENT_TYPE_FIELD = 1;
/** FSTRM_CONTROL_FRAME_LENGTH_MAX. */
const MAX_CONTROL_BYTES = 512;

export const DNSTAP_CONTENT = 'protobuf:dnstap.Dnstap';

/** With its content type, unless it is null. */
export function controlFrame(type: ControlType, content: string | null): Buffer {
  const text = Buffer.from(content ?? '', 'latin1');
  const fields = content === null ? 0 : 8 + text.length;
  const frame = Buffer.alloc(12 + fields);
  frame.writeUInt32BE(0, 0);
  frame.writeUInt32BE(4 + fields, 4);
  frame.writeUInt32BE(type, 8);
  if (content === null) return frame;
  frame.writeUInt32BE(CONTENT_TYPE_FIELD, 12);
  frame.writeUInt32BE(text.length, 16);
  text.copy(frame, 20);
  return frame;
}

export interface ControlFrame {
  readonly type: number;
  readonly contents: readonly string[];
}

/** Control frames out of the bytes that a receiver sends; it sends nothing else. */
export class ControlReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Frames that are complete with these bytes. Throws where they are no control frames. */
  feed(bytes: Buffer): ControlFrame[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const frames: ControlFrame[] = [];
    while (this.#rest.length >= 8) {
      if (this.#rest.readUInt32BE(0) !== 0) throw new Error('the receiver sent data');
      const length = this.#rest.readUInt32BE(4);
      if (length < 4 || length > MAX_CONTROL_BYTES) throw new Error(`a control frame of ${length} bytes`);
      if (this.#rest.length < 8 + length) break;
      frames.push(readControl(this.#rest.subarray(8, 8 + length)));
      this.#rest = this.#rest.subarray(8 + length);
    }
    return frames;
  }
}

function readControl(bytes: Buffer): ControlFrame {
  const contents: string[] = [];
  for (let at = 4; at + 8 <= bytes.length; ) {
    const end = at + 8 + bytes.readUInt32BE(at + 4);
    if (end > bytes.length) throw new Error('a field runs past its control frame');
    if (bytes.readUInt32BE(at) === CONTENT_TYPE_FIELD) contents.push(bytes.toString('latin1', at + 8, end));
    at = end;
  }
  return { type: bytes.readUInt32BE(0), contents };
}
