// The name section (WebAssembly 2.0, appendix: Custom Sections §7.4.1): for messages only.
import { RingcubeError } from '../../base/index.js';
import { type ByteReader } from './bytes.js';

const FUNCTION_NAMES = 1;
/** Functions behind these go by their numbers. */
const MAX_NAMES = 100_000;

/** By function index. What is malformed ends it without an error: a custom section makes no module wrong. */
export function readFunctionNames(section: ByteReader): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  const reader = section.part(section.at, section.end);
  try {
    while (!reader.done) {
      const id = reader.u8('a subsection');
      const length = reader.u32('a length');
      const start = reader.at;
      reader.skip(length, 'a subsection');
      if (id !== FUNCTION_NAMES) continue;
      const entries = section.part(start, reader.at);
      for (let left = entries.count('names'); left > 0 && names.size < MAX_NAMES; left--) names.set(entries.u32('an index'), entries.name('a name'));
    }
  } catch (error) {
    if (!(error instanceof RingcubeError)) throw error;
  }
  return names;
}
