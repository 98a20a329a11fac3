// An agent to test a host with: forwards a payload that begins with 0, and for any other does what its configuration says, as {"do": "loop"}:
// loop runs for ever, trap traps, scribble overwrites its whole memory, grow takes all the memory that it can get.
import { Config, forward } from 'ringcube/sdk';
export { ringcube_abi } from 'ringcube/sdk';

enum Deed {
  Loop,
  Trap,
  Scribble,
  Grow,
}

const NAMES: string[] = ['loop', 'trap', 'scribble', 'grow'];

let deed: i32 = 0;

export function init(ptr: usize, length: i32): i32 {
  const config = new Config(ptr, length);
  deed = NAMES.indexOf(config.text('do', 'loop'));
  return deed < 0 ? 1 : config.done();
}

export function process(ptr: usize, length: i32, meta: i32): i32 {
  if (length > 0 && load<u8>(ptr) !== 0) {
    if (deed === Deed.Loop) while (true) {}
    if (deed === Deed.Trap) unreachable();
    if (deed === Deed.Scribble) memory.fill(0, 0xff, (memory.size() as usize) << 16);
    if (deed === Deed.Grow) while (memory.grow(1) >= 0) {}
  }
  return forward(length);
}
