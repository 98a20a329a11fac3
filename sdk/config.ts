// An agent's configuration: one JSON object (RFC 8259) of names with strings, numbers, true and false. Nothing nested: an agent that
// needs more brings a parser of its own. An empty text is an empty object. Allocates: for init only.
//
//     export function init(ptr: usize, length: i32): i32 {
//       const config = new Config(ptr, length);
//       keep = config.integer('keep', 1, 1, 1000);
//       return config.done();
//     }
import { log } from './host';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

enum Kind {
  Text,
  Number,
  Flag,
}

class Entry {
  taken: bool = false;
  constructor(public name: string, public kind: Kind, public text: string) {}
}

export class Config {
  private source: string;
  private at: i32 = 0;
  private entries: Entry[] = [];
  private problem: string = '';

  constructor(ptr: usize, length: i32) {
    this.source = String.UTF8.decodeUnsafe(ptr, length);
    this.parse();
  }

  has(name: string): bool {
    return this.find(name) != null;
  }

  /** A number from `min` to `max`. */
  number(name: string, fallback: f64, min: f64, max: f64): f64 {
    const entry = this.find(name);
    if (entry == null) return fallback;
    const value = entry.kind == Kind.Number ? F64.parseFloat(entry.text) : NaN;
    if (value >= min && value <= max) return value;
    this.refuse(`${name}: must be a number from ${min} to ${max}`);
    return fallback;
  }

  /** A whole number from `min` to `max`. */
  integer(name: string, fallback: i32, min: i32, max: i32): i32 {
    const entry = this.find(name);
    if (entry == null) return fallback;
    const value = entry.kind == Kind.Number ? F64.parseFloat(entry.text) : NaN;
    if (value >= <f64>min && value <= <f64>max && Math.floor(value) == value) return <i32>value;
    this.refuse(`${name}: must be a whole number from ${min} to ${max}`);
    return fallback;
  }

  text(name: string, fallback: string): string {
    const entry = this.find(name);
    if (entry == null) return fallback;
    if (entry.kind == Kind.Text) return entry.text;
    this.refuse(`${name}: must be a string`);
    return fallback;
  }

  flag(name: string, fallback: bool): bool {
    const entry = this.find(name);
    if (entry == null) return fallback;
    if (entry.kind == Kind.Flag) return entry.text == 'true';
    this.refuse(`${name}: must be true or false`);
    return fallback;
  }

  /** For what only the agent can tell to be wrong. The first problem counts. */
  refuse(problem: string): void {
    if (this.problem.length == 0) this.problem = problem;
  }

  /** What init returns: 0, or 1 after a line in the host's log that says what is wrong. A name that was never asked for is wrong, too. */
  done(): i32 {
    for (let i = 0; i < this.entries.length; i++) {
      if (!this.entries[i].taken) this.refuse(`${this.entries[i].name}: no such setting`);
    }
    if (this.problem.length == 0) return 0;
    log(`configuration: ${this.problem}`);
    return 1;
  }

  private find(name: string): Entry | null {
    for (let i = 0; i < this.entries.length; i++) {
      const entry = this.entries[i];
      if (entry.name == name) {
        entry.taken = true;
        return entry;
      }
    }
    return null;
  }

  private parse(): void {
    if (this.peek() < 0) return;
    let ok = this.takes(0x7b); // {
    if (ok && !this.takes(0x7d)) {
      do ok = this.member();
      while (ok && this.takes(0x2c)); // ,
      ok = ok && this.takes(0x7d); // }
    }
    if (!ok || this.peek() >= 0) {
      this.entries = [];
      this.refuse(`not a JSON object of strings, numbers, true and false: character ${this.at + 1}`);
    }
  }

  private member(): bool {
    const name = this.string();
    if (name == null || !this.takes(0x3a)) return false; // :
    for (let i = 0; i < this.entries.length; i++) {
      if (this.entries[i].name == name) {
        this.refuse(`${name}: twice`);
      }
    }
    const next = this.peek();
    if (next == QUOTE) {
      const text = this.string();
      if (text == null) return false;
      this.entries.push(new Entry(name, Kind.Text, text));
      return true;
    }
    const start = this.at;
    const kind = this.word('true') || this.word('false') ? Kind.Flag : Kind.Number;
    if (kind == Kind.Number && !this.numeral()) return false;
    this.entries.push(new Entry(name, kind, this.source.substring(start, this.at)));
    return true;
  }

  /** The next character that is no white space; -1 at the end. */
  private peek(): i32 {
    while (this.at < this.source.length) {
      const code = this.source.charCodeAt(this.at);
      if (code != 0x20 && code != 0x09 && code != 0x0a && code != 0x0d) return code;
      this.at++;
    }
    return -1;
  }

  private takes(code: i32): bool {
    if (this.peek() != code) return false;
    this.at++;
    return true;
  }

  private word(word: string): bool {
    if (this.source.substring(this.at, this.at + word.length) != word) return false;
    this.at += word.length;
    return true;
  }

  private digits(): bool {
    const start = this.at;
    while (this.code() >= 0x30 && this.code() <= 0x39) this.at++;
    return this.at > start;
  }

  /** The character here; -1 at the end. */
  private code(): i32 {
    return this.at < this.source.length ? this.source.charCodeAt(this.at) : -1;
  }

  private numeral(): bool {
    this.word('-');
    if (!this.word('0') && !this.digits()) return false;
    if (this.word('.') && !this.digits()) return false;
    if (this.word('e') || this.word('E')) {
      if (!this.word('+')) this.word('-');
      return this.digits();
    }
    return true;
  }

  private string(): string | null {
    if (!this.takes(QUOTE)) return null;
    let text = '';
    let start = this.at;
    while (this.code() >= 0x20) {
      const code = this.code();
      if (code == QUOTE || code == BACKSLASH) text += this.source.substring(start, this.at);
      this.at++;
      if (code == QUOTE) return text;
      if (code == BACKSLASH) {
        const unit = this.escape();
        if (unit < 0) return null;
        text += String.fromCharCode(unit);
        start = this.at;
      }
    }
    return null;
  }

  private escape(): i32 {
    const code = this.code();
    this.at++;
    if (code == QUOTE || code == BACKSLASH || code == 0x2f) return code;
    if (code == 0x62) return 8;
    if (code == 0x66) return 12;
    if (code == 0x6e) return 10;
    if (code == 0x72) return 13;
    if (code == 0x74) return 9;
    if (code != 0x75) return -1;
    let unit = 0;
    for (let i = 0; i < 4; i++) {
      const digit = this.code();
      this.at++;
      if (digit >= 0x30 && digit <= 0x39) unit = unit * 16 + digit - 0x30;
      else if (digit >= 0x41 && digit <= 0x46) unit = unit * 16 + digit - 0x41 + 10;
      else if (digit >= 0x61 && digit <= 0x66) unit = unit * 16 + digit - 0x61 + 10;
      else return -1;
    }
    return unit;
  }
}
