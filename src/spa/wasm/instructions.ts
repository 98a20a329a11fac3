// Instructions, one after the other (WebAssembly 2.0 §5.4).
import { type ByteReader, malformed } from './bytes.js';
import { Immediate, MISC, Op, PLAIN, Prefix, Refused, VALUE_TYPES, VECTOR, refused, whyRefused } from './opcodes.js';

/**
 * A cursor over an expression, up to the `end` that closes it. It knows each instruction's length and refuses what it doesn't
 * know; whether types and indices fit is for V8 to say. Allocates nothing for an instruction.
 */
export class Instructions {
  readonly #reader: ByteReader;
  #depth = 1;
  /** As in `Op`. */
  opcode = -1;
  /** Where it begins. */
  at = 0;
  /** Where its immediates begin. */
  operandAt = 0;
  /** The first index, or the i32, if it has one. */
  operand = 0;
  /** The second index, if it has one. */
  operand2 = 0;

  constructor(reader: ByteReader) {
    this.#reader = reader;
  }

  /** The byte behind the instruction. */
  get end(): number {
    return this.#reader.at;
  }

  /** False behind the last `end`. */
  next(): boolean {
    if (this.#depth === 0) return false;
    const reader = this.#reader;
    this.at = reader.at;
    const first = reader.u8('an instruction');
    let kind: number;
    if (first >= Prefix.gc && first <= Prefix.threads) {
      kind = this.#prefixed(first);
    } else {
      this.opcode = first;
      kind = PLAIN[first];
      if (kind === Immediate.unknown) {
        const why = whyRefused(first);
        throw why === undefined ? malformed(this.at, `unknown instruction 0x${first.toString(16)}`) : refused(this.at, why);
      }
      if (kind === Immediate.block) this.#depth++;
      else if (first === Op.end) this.#depth--;
    }
    this.operandAt = reader.at;
    this.#immediates(kind);
    return true;
  }

  /** Of br_table: each label, the default one last. */
  forEachLabel(label: (depth: number) => void): void {
    const labels = this.#reader.part(this.operandAt, this.end);
    for (let left = labels.count('labels') + 1; left > 0; left--) label(labels.u32('a label'));
  }

  #prefixed(prefix: number): number {
    const number = this.#reader.u32('the second part of an instruction');
    if (prefix === Prefix.gc) throw refused(this.at, Refused.gc);
    if (prefix === Prefix.threads) throw refused(this.at, Refused.threads);
    if (prefix === Prefix.vector && number >= 0x100 && number < 0x200) throw refused(this.at, Refused.relaxed);
    const kind = number > 255 ? Immediate.unknown : (prefix === Prefix.misc ? MISC : VECTOR)[number];
    if (kind === Immediate.unknown) throw malformed(this.at, `unknown instruction 0x${prefix.toString(16)} ${number}`);
    this.opcode = prefix * 256 + number;
    return kind;
  }

  #immediates(kind: number): void {
    const reader = this.#reader;
    switch (kind) {
      case Immediate.block:
        this.#blockType();
        break;
      case Immediate.index:
        this.operand = reader.u32('an index');
        break;
      case Immediate.twoIndices:
        this.operand = reader.u32('an index');
        this.operand2 = reader.u32('an index');
        break;
      case Immediate.labels:
        for (let left = reader.count('labels') + 1; left > 0; left--) reader.u32('a label');
        break;
      case Immediate.types:
        for (let left = reader.count('types'); left > 0; left--) readValueType(reader);
        break;
      case Immediate.memarg:
        this.#memarg();
        break;
      case Immediate.memory:
        this.#memory();
        break;
      case Immediate.i32:
        this.operand = reader.s32('a constant');
        break;
      case Immediate.i64:
        reader.skipSigned(64, 'a constant');
        break;
      case Immediate.bytes4:
        reader.skip(4, 'a constant');
        break;
      case Immediate.bytes8:
        reader.skip(8, 'a constant');
        break;
      case Immediate.bytes16:
        reader.skip(16, 'a constant');
        break;
      case Immediate.refType:
        this.#heapType();
        break;
      case Immediate.lane:
        reader.skip(1, 'a lane');
        break;
      case Immediate.memargLane:
        this.#memarg();
        reader.skip(1, 'a lane');
        break;
      case Immediate.indexMemory:
        this.operand = reader.u32('an index');
        this.#memory();
        break;
      case Immediate.twoMemories:
        this.#memory();
        this.#memory();
        break;
    }
  }

  /** §5.4.1: nothing, a value type, or the index of a type as a positive signed number of 33 bits. */
  #blockType(): void {
    const reader = this.#reader;
    const first = reader.at < reader.end ? reader.bytes[reader.at] : 0;
    if (first === 0x40) reader.at++;
    else if (first > 0x40 && first < 0x80) readValueType(reader);
    else reader.skipSigned(33, 'the type of a block');
  }

  /** §5.3.3; in 3.0 also the index of a type, as for blocks. */
  #heapType(): void {
    const { at, bytes, end } = this.#reader;
    if (at < end && (bytes[at] & 0xc0) !== 0x40) throw refused(at, Refused.references);
    readReferenceType(this.#reader);
  }

  /** §5.4.6: alignment and offset. Bit 6 of the alignment says that a memory's index follows. */
  #memarg(): void {
    const at = this.#reader.at;
    if (this.#reader.u32('an alignment') >= 64) throw refused(at, Refused.memories);
    this.#reader.u32('an offset');
  }

  #memory(): void {
    const at = this.#reader.at;
    if (this.#reader.u8('a memory') !== 0) throw refused(at, Refused.memories);
  }
}

/** §5.3.4. The type's name. */
export function readValueType(reader: ByteReader): string {
  const { at } = reader;
  const byte = reader.u8('a type');
  const name = VALUE_TYPES[byte];
  if (name !== undefined) return name;
  if (byte === 0x69 || byte === 0x74) throw refused(at, Refused.exceptions);
  if (byte === 0x63 || byte === 0x64) throw refused(at, Refused.references);
  if (byte >= 0x65 && byte <= 0x78) throw refused(at, Refused.gc);
  throw malformed(at, `0x${byte.toString(16)} is no value type`);
}

/** §5.3.3. */
export function readReferenceType(reader: ByteReader): string {
  const { at } = reader;
  const name = readValueType(reader);
  if (name !== 'funcref' && name !== 'externref') throw malformed(at, `${name} is no reference type`);
  return name;
}
