// WebAssembly (JavaScript API §5), as far as it is used here: TypeScript has its types in the DOM library only, which Node is not.

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

export interface WasmGlobal {
  value: number;
}

export type WasmFunction = (...args: number[]) => number | undefined;

export type WasmExports = Readonly<Record<string, WasmFunction | WasmGlobal | WasmMemory>>;

export type WasmModule = object;

interface Api {
  validate(bytes: Uint8Array): boolean;
  /** Throws CompileError. */
  Module: new (bytes: Uint8Array) => WasmModule;
  /** Throws LinkError, and what the start function throws. */
  Instance: new (module: WasmModule, imports: Record<string, Record<string, unknown>>) => { readonly exports: WasmExports };
  /** Limits in pages of 64 KiB. */
  Memory: new (limits: { initial: number; maximum: number; shared?: boolean }) => WasmMemory;
  RuntimeError: new () => Error;
}

export const { WebAssembly } = globalThis as unknown as { WebAssembly: Api };
