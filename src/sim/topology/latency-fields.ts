import { RingcubeError, invalid } from '../../base/index.js';

/** Where something stands in a file, as editors count: from 1. */
export interface Place {
  file: string;
  line: number;
  column: number;
}

/** One line: `pings.txt:3:14: got "1O", must be …`. */
export function wrongAt({ file, line, column }: Place, got: unknown, right: string): RingcubeError {
  return new RingcubeError('ERR_FORMAT', invalid(`${file}:${line}:${column}`, got, right).message);
}

const isBlank = (code: number): boolean => code === 0x20 || (code >= 0x09 && code <= 0x0d);

const COMMA = 0x2c;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const MISSING = /^(?:|[-?*x]|[+-]?(?:nan|na|n\/a|null|inf|infinity))$/i;

/**
 * The fields of one line after the other: apart by blanks or by a comma, empty ones between two commas, before the first and behind the last.
 * Made once, for millions of fields.
 */
export class Fields {
  count: number;
  line: number;
  private text: string;
  private readonly starts: number[];
  private readonly ends: number[];

  constructor(private readonly file: string) {
    this.count = 0;
    this.line = 0;
    this.text = '';
    this.starts = [];
    this.ends = [];
  }

  /** Reads a line; an empty one has no fields. */
  read(line: number, text: string): void {
    this.line = line;
    this.text = text;
    this.count = 0;
    let at = this.skipBlanks(0);
    let open = at < text.length;
    while (open) {
      this.starts[this.count] = at;
      while (at < text.length && text.charCodeAt(at) !== COMMA && !isBlank(text.charCodeAt(at))) at++;
      this.ends[this.count++] = at;
      at = this.skipBlanks(at);
      open = at < text.length;
      // Behind a comma there is another field, if only an empty one.
      if (text.charCodeAt(at) === COMMA) at = this.skipBlanks(at + 1);
    }
  }

  private skipBlanks(at: number): number {
    while (at < this.text.length && isBlank(this.text.charCodeAt(at))) at++;
    return at;
  }

  /** Of a field, or, with the number of fields, of the line's end. */
  place(field: number): Place {
    return { file: this.file, line: this.line, column: 1 + (field < this.count ? this.starts[field] : this.text.length) };
  }

  word(field: number): string {
    return this.text.slice(this.starts[field], this.ends[field]);
  }

  /** A number; NaN where the field says in some way that there is none. Throws ERR_FORMAT for anything else. */
  number(field: number): number {
    const word = this.word(field);
    if (NUMBER.test(word)) return Number(word);
    if (MISSING.test(word)) return NaN;
    throw wrongAt(this.place(field), word, 'a number, or NaN where nothing was measured');
  }
}
