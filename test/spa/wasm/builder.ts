// Builds modules byte by byte, right and wrong ones (WebAssembly 2.0 §5).

type Bytes = readonly number[];

export const leb = (value: number): number[] => {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
};

/** Signed; also of 64 bits. */
export const sleb = (value: number | bigint): number[] => {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (;;) {
    const low = Number(rest & 127n);
    rest >>= 7n;
    if (rest === (low < 64 ? 0n : -1n)) return [...bytes, low];
    bytes.push(low | 128);
  }
};

export const text = (name: string): number[] => {
  const bytes = [...new TextEncoder().encode(name)];
  return [...leb(bytes.length), ...bytes];
};

export const vector = (items: readonly Bytes[]): number[] => [...leb(items.length), ...items.flat()];

export const T = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b, funcref: 0x70, externref: 0x6f } as const;

/** Instructions, as bytes. Addresses and i32 constants may be given unsigned. */
export const I = {
  unreachable: [0x00],
  nop: [0x01],
  block: (...code: Bytes[]) => [0x02, 0x40, ...code.flat(), 0x0b],
  loop: (...code: Bytes[]) => [0x03, 0x40, ...code.flat(), 0x0b],
  if: (...code: Bytes[]) => [0x04, 0x40, ...code.flat(), 0x0b],
  ifElse: (then: Bytes[], otherwise: Bytes[]) => [0x04, 0x40, ...then.flat(), 0x05, ...otherwise.flat(), 0x0b],
  br: (label: number) => [0x0c, ...leb(label)],
  brIf: (label: number) => [0x0d, ...leb(label)],
  brTable: (...labels: number[]) => [0x0e, ...leb(labels.length - 1), ...labels.flatMap(leb)],
  return: [0x0f],
  call: (index: number) => [0x10, ...leb(index)],
  callIndirect: (type: number, table = 0) => [0x11, ...leb(type), ...leb(table)],
  returnCall: (index: number) => [0x12, ...leb(index)],
  returnCallIndirect: (type: number) => [0x13, ...leb(type), 0],
  drop: [0x1a],
  select: [0x1b],
  get: (local: number) => [0x20, ...leb(local)],
  set: (local: number) => [0x21, ...leb(local)],
  tee: (local: number) => [0x22, ...leb(local)],
  globalGet: (index: number) => [0x23, ...leb(index)],
  globalSet: (index: number) => [0x24, ...leb(index)],
  /** Opcode, alignment as a power of two, offset. */
  memory: (opcode: number, align: number, offset = 0) => [opcode, ...leb(align), ...leb(offset)],
  load: (offset = 0) => [0x28, 2, ...leb(offset)],
  load8: (offset = 0) => [0x2d, 0, ...leb(offset)],
  load64: (offset = 0) => [0x29, 3, ...leb(offset)],
  store: (offset = 0) => [0x36, 2, ...leb(offset)],
  store8: (offset = 0) => [0x3a, 0, ...leb(offset)],
  store64: (offset = 0) => [0x37, 3, ...leb(offset)],
  loadV: (offset = 0) => [0xfd, 0, 4, ...leb(offset)],
  storeV: (offset = 0) => [0xfd, 11, 4, ...leb(offset)],
  size: [0x3f, 0],
  grow: [0x40, 0],
  i32: (value: number) => [0x41, ...sleb(value | 0)],
  i64: (value: number | bigint) => [0x42, ...sleb(value)],
  f32: (value: number) => [0x43, ...new Uint8Array(Float32Array.of(value).buffer)],
  f64: (value: number) => [0x44, ...new Uint8Array(Float64Array.of(value).buffer)],
  v128: (fill: number) => [0xfd, 12, ...new Array<number>(16).fill(fill)],
  eqz: [0x45],
  add: [0x6a],
  sub: [0x6b],
  fill: [0xfc, 11, 0],
  copy: [0xfc, 10, 0, 0],
  init: (segment: number) => [0xfc, 8, ...leb(segment), 0],
  dataDrop: (segment: number) => [0xfc, 9, ...leb(segment)],
  tableInit: (segment: number, table = 0) => [0xfc, 12, ...leb(segment), ...leb(table)],
  tableCopy: (to: number, from: number) => [0xfc, 14, ...leb(to), ...leb(from)],
  tableGrow: (table: number) => [0xfc, 15, ...leb(table)],
  tableSize: (table: number) => [0xfc, 16, ...leb(table)],
  tableFill: (table: number) => [0xfc, 17, ...leb(table)],
  refNull: (type: number = T.funcref) => [0xd0, type],
  refFunc: (index: number) => [0xd2, ...leb(index)],
} as const;

const limits = (min: number, max?: number): number[] => (max === undefined ? [0, ...leb(min)] : [1, ...leb(min), ...leb(max)]);

export interface FunctionSpec {
  params?: Bytes;
  results?: Bytes;
  /** Types of the locals, or groups of them. */
  locals?: readonly (number | readonly [count: number, type: number])[];
  code: Bytes;
  export?: string;
}

/** One after the other, whatever they hold; sections with nothing in them are left out. */
export class ModuleBuilder {
  readonly types: number[][] = [];
  readonly imports: number[][] = [];
  readonly functions: number[][] = [];
  readonly tables: number[][] = [];
  readonly memories: number[][] = [];
  readonly globals: number[][] = [];
  readonly exports: number[][] = [];
  start: number | undefined;
  readonly elements: number[][] = [];
  readonly bodies: number[][] = [];
  readonly data: number[][] = [];
  /** Written ahead of the code, as memory.init needs. */
  dataCount = false;
  /** Behind all else. */
  readonly customs: { name: string; content: Bytes }[] = [];
  #imported = 0;
  #globalCount = 0;

  type(params: Bytes, results: Bytes): number {
    const bytes = [0x60, ...vector(params.map((type) => [type])), ...vector(results.map((type) => [type]))];
    const index = this.types.findIndex((type) => type.join() === bytes.join());
    return index >= 0 ? index : this.types.push(bytes) - 1;
  }

  /** Ahead of all func(). */
  importFunction(module: string, name: string, params: Bytes, results: Bytes): number {
    this.imports.push([...text(module), ...text(name), 0, ...leb(this.type(params, results))]);
    return this.#imported++;
  }

  importMemory(min: number, max?: number): this {
    this.imports.push([...text('env'), ...text('memory'), 2, ...limits(min, max)]);
    return this;
  }

  func({ params = [], results = [], locals = [], code, export: name }: FunctionSpec): number {
    const index = this.#imported + this.functions.push(leb(this.type(params, results))) - 1;
    const body = [...vector(locals.map((local) => (typeof local === 'number' ? [1, local] : [...leb(local[0]), local[1]])))];
    for (const byte of code) body.push(byte);
    body.push(0x0b);
    this.bodies.push(leb(body.length).concat(body));
    if (name !== undefined) this.export(name, 0, index);
    return index;
  }

  global(type: number, mutable: boolean, value: Bytes): number {
    this.globals.push([type, mutable ? 1 : 0, ...value, 0x0b]);
    return this.#globalCount++;
  }

  /** Kinds: function 0, table 1, memory 2, global 3. */
  export(name: string, kind: number, index: number): this {
    this.exports.push([...text(name), kind, ...leb(index)]);
    return this;
  }

  table(min: number, max?: number, type: number = T.funcref): this {
    this.tables.push([type, ...limits(min, max)]);
    return this;
  }

  /** Active, in table 0. */
  element(offset: number, functions: Bytes): this {
    this.elements.push([0, ...I.i32(offset), 0x0b, ...vector(functions.map(leb))]);
    return this;
  }

  passiveElement(functions: Bytes): this {
    this.elements.push([1, 0, ...vector(functions.map(leb))]);
    return this;
  }

  dataAt(offset: number, bytes: Bytes): this {
    this.data.push([0, ...I.i32(offset), 0x0b, ...leb(bytes.length), ...bytes]);
    return this;
  }

  passiveData(bytes: Bytes): this {
    this.data.push(leb(1).concat(leb(bytes.length), bytes));
    this.dataCount = true;
    return this;
  }

  /** The sections that there are, by id: each its content. */
  sections(): [id: number, content: number[]][] {
    const all: [number, number[]][] = [
      [1, this.types.length > 0 ? vector(this.types) : []],
      [2, this.imports.length > 0 ? vector(this.imports) : []],
      [3, this.functions.length > 0 ? vector(this.functions) : []],
      [4, this.tables.length > 0 ? vector(this.tables) : []],
      [5, this.memories.length > 0 ? vector(this.memories) : []],
      [6, this.globals.length > 0 ? vector(this.globals) : []],
      [7, this.exports.length > 0 ? vector(this.exports) : []],
      [8, this.start === undefined ? [] : leb(this.start)],
      [9, this.elements.length > 0 ? vector(this.elements) : []],
      [12, this.dataCount ? leb(this.data.length) : []],
      [10, this.bodies.length > 0 ? vector(this.bodies) : []],
      [11, this.data.length > 0 ? vector(this.data) : []],
      ...this.customs.map(({ name, content }): [number, number[]] => [0, [...text(name), ...content]]),
    ];
    return all.filter(([, content]) => content.length > 0);
  }

  build(): Uint8Array {
    return assemble(this.sections());
  }
}

export function assemble(sections: readonly (readonly [id: number, content: Bytes])[]): Uint8Array {
  const parts = [Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)];
  for (const [id, content] of sections) parts.push(Uint8Array.from([id, ...leb(content.length)]), Uint8Array.from(content));
  return new Uint8Array(Buffer.concat(parts));
}

/** A name section with function names (custom sections §7.4.1). */
export const functionNames = (names: Record<number, string>): { name: string; content: number[] } => {
  const map = vector(Object.entries(names).map(([index, name]) => [...leb(Number(index)), ...text(name)]));
  return { name: 'name', content: [1, ...leb(map.length), ...map] };
};
