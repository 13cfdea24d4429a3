/**
 * The lexical part of master files (RFC 1035 5.1): text to entries, which are lines, or several within parentheses. Comments and blanks are
 * gone, quotes resolved; escapes stay in, for the reader of the field.
 */
import type { Token } from '../presentation/tokens.ts';

export interface PlacedToken extends Token {
  /** From 1, in characters. */
  readonly line: number;
  readonly column: number;
}

export interface Entry {
  /** The line begins with a blank: the record has the owner of the one before. */
  readonly isIndented: boolean;
  /** At least one. */
  readonly tokens: readonly PlacedToken[];
}

export interface Place {
  readonly line: number;
  readonly column: number;
}

export type LexicalReport = (place: Place, value: string, message: string, remedy: string) => void;

/** Gives one entry after the other. What is lexically wrong is reported, and the entry that has it left out. */
export class EntryReader {
  readonly #text: string;
  readonly #report: LexicalReport;
  #position = 0;
  #line = 1;
  #lineStart = 0;
  #tokens: PlacedToken[] = [];
  #isBroken = false;

  constructor(text: string, report: LexicalReport) {
    this.#text = text;
    this.#report = report;
    // A byte order mark is no part of the text.
    if (text.startsWith('\ufeff')) this.#position = this.#lineStart = 1;
  }

  /** Null: the text is at its end. */
  next(): Entry | null {
    while (this.#position < this.#text.length) {
      const isIndented = isBlank(this.#text.charCodeAt(this.#position));
      this.#tokens = [];
      this.#isBroken = false;
      this.#readEntry();
      if (this.#tokens.length > 0 && !this.#isBroken) return { isIndented, tokens: this.#tokens };
    }
    return null;
  }

  #place(position = this.#position): Place {
    return { line: this.#line, column: position - this.#lineStart + 1 };
  }

  #fail(place: Place, value: string, message: string, remedy: string): void {
    this.#isBroken = true;
    this.#report(place, value, message, remedy);
  }

  /** Up to and with the end of the line outside parentheses. */
  #readEntry(): void {
    const text = this.#text;
    const open: Place[] = [];
    while (this.#position < text.length) {
      const code = text.charCodeAt(this.#position);
      if (code === NEW_LINE) {
        this.#endLine();
        if (open.length === 0) return;
      } else if (isBlank(code)) {
        this.#position++;
      } else if (code === SEMICOLON) {
        this.#skipComment();
      } else if (code === OPEN) {
        open.push(this.#place());
        this.#position++;
      } else if (code === CLOSE) {
        if (open.pop() === undefined)
          this.#fail(this.#place(), ')', '")" closes nothing', 'take it away, or write \\) for the character');
        this.#position++;
      } else {
        this.#readToken();
      }
    }
    if (open.length > 0)
      this.#fail(
        open[0],
        '(',
        '"(" is not closed up to the end of the file',
        'write ")" after the last field of the record',
      );
  }

  #endLine(): void {
    this.#position++;
    this.#line++;
    this.#lineStart = this.#position;
  }

  #skipComment(): void {
    const end = this.#text.indexOf('\n', this.#position);
    this.#position = end < 0 ? this.#text.length : end;
  }

  /** A field: `"..."`, or characters up to a blank, in which a quote may begin (`alpn="h2,h3"`). */
  #readToken(): void {
    const text = this.#text;
    const place = this.#place();
    const isQuoted = text.charCodeAt(this.#position) === QUOTE;
    let token = '';
    let runStart = isQuoted ? ++this.#position : this.#position;
    let inQuotes = isQuoted;
    for (; this.#position < text.length; this.#position++) {
      const code = text.charCodeAt(this.#position);
      if (code === NEW_LINE) break;
      if (code === BACKSLASH) {
        this.#position++;
        // A line does not go on after a backslash: the reader of the field says so.
        if (this.#position >= text.length || text.charCodeAt(this.#position) === NEW_LINE) break;
      } else if (code === QUOTE) {
        token += text.slice(runStart, this.#position);
        runStart = this.#position + 1;
        inQuotes = !inQuotes;
        if (isQuoted) break;
      } else if (!inQuotes && isDelimiter(code)) break;
    }
    token += text.slice(runStart, this.#position);
    if (isQuoted && !inQuotes) this.#position++;
    if (inQuotes) {
      const remedy = 'close it on the same line, or write \\" for the character';
      this.#fail(place, token, 'a double quote is not closed', remedy);
    }
    this.#tokens.push({ text: token, isQuoted, ...place });
  }
}

const NEW_LINE = 0x0a;
const QUOTE = 0x22;
const OPEN = 0x28;
const CLOSE = 0x29;
const SEMICOLON = 0x3b;
const BACKSLASH = 0x5c;

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0d;
}

function isDelimiter(code: number): boolean {
  return isBlank(code) || code === SEMICOLON || code === OPEN || code === CLOSE;
}
