// What a module is made of (WebAssembly 2.0 §2), as the reader hands it on.

export interface FunctionType {
  /** Names of value types: i32, i64, f32, f64, v128, funcref, externref. */
  readonly params: readonly string[];
  readonly results: readonly string[];
}

/** In pages of 64 KiB, or in elements. */
export interface Limits {
  readonly min: number;
  readonly max: number | undefined;
}

export interface TableType {
  readonly kind: 'table';
  /** funcref or externref. */
  readonly element: string;
  readonly limits: Limits;
}

export interface MemoryType {
  readonly kind: 'memory';
  readonly limits: Limits;
  /** Where the limits lie in the module: from `at` up to, without, `end`. */
  readonly at: number;
  readonly end: number;
}

export interface GlobalType {
  readonly kind: 'global';
  readonly type: string;
  readonly mutable: boolean;
  /** What an immutable i32 always is; undefined of all else, and where it can't be told from the module. */
  readonly value: number | undefined;
}

export type ExternType = { readonly kind: 'function'; readonly type: FunctionType } | TableType | MemoryType | GlobalType;

interface Import {
  readonly module: string;
  readonly name: string;
  readonly type: ExternType;
}

interface Export {
  readonly name: string;
  readonly index: number;
  readonly type: ExternType;
}

/** From `at` up to, without, `end`. */
export interface Section {
  readonly id: number;
  readonly at: number;
  /** Behind its length; of a custom section, behind its name too. */
  readonly contentAt: number;
  readonly end: number;
  /** Of a custom section. */
  readonly name: string;
}

interface Segment {
  /** Written at instantiation; otherwise passive or declarative. */
  readonly active: boolean;
  /** Of an active one: the address or index; undefined where it isn't constant. */
  readonly offset: number | undefined;
  /** Where its bytes, or elements, lie in the module, and how many there are. */
  readonly contentAt: number;
  readonly length: number;
}

/** Of a function: its locals, then its instructions up to, without, `end`. */
interface Body {
  readonly localsAt: number;
  readonly codeAt: number;
  readonly end: number;
}

export interface ModuleInfo {
  readonly bytes: Uint8Array;
  readonly sections: readonly Section[];
  readonly types: readonly FunctionType[];
  readonly imports: readonly Import[];
  /** Imported ones come first in each of these four. */
  readonly functions: readonly FunctionType[];
  readonly tables: readonly TableType[];
  readonly memories: readonly MemoryType[];
  readonly globals: readonly GlobalType[];
  readonly importedFunctions: number;
  readonly exports: readonly Export[];
  /** The start function's index. */
  readonly start: number | undefined;
  readonly elements: readonly Segment[];
  readonly data: readonly Segment[];
  /** Of the functions that are not imported. */
  readonly bodies: readonly Body[];
  /** Function names of the name section, by index: for messages. */
  readonly names: ReadonlyMap<number, string>;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer Item)[] ? Item[] : T[K] };

/** A module while its sections are read. */
export type Draft = Mutable<Omit<ModuleInfo, 'bytes' | 'sections' | 'names'>>;
