// Valid modules of all shapes, from a list of numbers that says at each choice what comes next: so that they shrink.
import { I, ModuleBuilder, T, leb } from './builder.js';

/** Where the modules' own loads and stores begin: below lies the word that stands for the guard page. */
export const FREE_FROM = 64;

/** Ends when its numbers do: from then on every choice is the first one, which is the simplest. */
class Choices {
  #at = 0;
  readonly #numbers: readonly number[];

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }

  of(count: number): number {
    return (this.#numbers[this.#at++] ?? 0) % count;
  }

  get over(): boolean {
    return this.#at >= this.#numbers.length;
  }
}

const STEPS = 0; // the global that ends all loops
const I32_BINARY = [0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78];
const I32_UNARY = [0x45, 0x67, 0x68, 0x69, 0xc0, 0xc1];
const I64_BINARY = [0x7c, 0x7d, 0x7e, 0x80, 0x82, 0x83, 0x84, 0x85, 0x86, 0x88, 0x89];
const F64_BINARY = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5];
const LOADS = [[0x28, 2], [0x2c, 0], [0x2d, 0], [0x2e, 1], [0x2f, 1]] as const;
const VECTOR_BINARY = [[0x6e], [0xae, 1], [0x4e], [0x51], [0xb5, 1]];

/** A function's code, with the functions below it to call: no recursion, and each loop counts down. */
class Code {
  readonly #choices: Choices;
  readonly #index: number;
  /** Type of (i32, i32) → i32, of all functions; and of (i32) → (i32), for blocks. */
  readonly #type: number;
  readonly #blockType: number;

  constructor(choices: Choices, index: number, type: number, blockType: number) {
    this.#choices = choices;
    this.#index = index;
    this.#type = type;
    this.#blockType = blockType;
  }

  /** Pushes an i32. */
  value(depth: number): number[] {
    const of = (n: number): number => this.#choices.of(n);
    const sub = (): number[] => this.value(depth - 1);
    if (depth <= 0 || this.#choices.over) return of(2) === 0 ? I.get(of(3)) : I.i32([0, 1, -1, 7, 70000, 2 ** 31, FREE_FROM][of(7)]);
    switch (of(17)) {
      case 0:
        return [...sub(), ...sub(), I32_BINARY[of(I32_BINARY.length)]];
      case 1:
        return [...sub(), I32_UNARY[of(I32_UNARY.length)]];
      case 2: {
        const [opcode, align] = LOADS[of(LOADS.length)];
        return [...this.#address(depth), ...I.memory(opcode, align, FREE_FROM + of(2) * 70000)];
      }
      case 3:
        return [...sub(), 0xad, ...I.i64([1n, -1n, 2n ** 40n, -(2n ** 63n)][of(4)]), I64_BINARY[of(I64_BINARY.length)], 0xa7];
      case 4:
        return [...sub(), 0xb7, ...I.f64([0, 1.5, -1e300, NaN][of(4)]), F64_BINARY[of(F64_BINARY.length)], ...[[0xfc, 2], [0xaa], [0xfc, 3]][of(3)]];
      case 5:
        return [...I.f32(0.5), ...sub(), 0xb2, 0x5d];
      case 6:
        return [...sub(), ...sub(), ...sub(), ...(of(2) === 0 ? [0x1b] : [0x1c, 1, T.i32])];
      case 7:
        return [...sub(), 0x04, T.i32, ...sub(), 0x05, ...sub(), 0x0b];
      case 8:
        return [0x02, T.i32, ...sub(), ...sub(), ...I.brIf(0), 0x0b];
      case 9:
        // A loop that takes a value on the stack and hands it on to itself.
        return [...sub(), 0x03, ...leb(this.#blockType), ...sub(), ...I.add, ...this.#oneStep(), ...I.brIf(0), 0x0b];
      case 10:
        return this.#index === 0 ? sub() : [...sub(), ...sub(), ...I.call(of(this.#index))];
      case 11:
        return this.#index === 0 ? [...I.size] : [...sub(), ...sub(), ...I.i32(of(this.#index)), ...I.callIndirect(this.#type)];
      case 12:
        return [...I.i32(of(2)), ...I.grow];
      case 13:
        return [...sub(), 0xfd, 17, ...I.v128(3), 0xfd, ...VECTOR_BINARY[of(5)], 0xfd, 27, of(4)];
      case 14:
        return [...I.refNull(), 0xd1];
      case 15:
        return [...I.refNull(), ...I.i32(of(3)), ...I.tableGrow(0)];
      default:
        return I.tableSize(0);
    }
  }

  statements(depth: number): number[] {
    const code: number[] = [];
    for (let left = this.#choices.of(4); left > 0 && !this.#choices.over; left--) code.push(...this.#statement(depth));
    return code;
  }

  #statement(depth: number): number[] {
    const of = (n: number): number => this.#choices.of(n);
    const value = (): number[] => this.value(2);
    const inner = (): number[] => (depth > 0 ? this.statements(depth - 1) : []);
    const length = (): number[] => (of(3) === 0 ? I.i32([200_000, 65536, 65537, 131072][of(4)]) : [...value(), ...I.i32(255), 0x71]);
    switch (of(17)) {
      case 0:
        return [...value(), ...I.set(of(3))];
      case 1:
        return [...this.#address(2), ...value(), ...I.memory(of(2) === 0 ? 0x36 : 0x3a, 0, FREE_FROM)];
      case 2:
        return [...value(), ...I.if(inner())];
      case 3:
        return [...value(), ...I.ifElse([inner()], [inner()])];
      case 4:
        return I.block(inner(), value(), I.brIf(0), inner());
      case 5:
        return I.block(I.block(I.block(value(), I.brTable(0, 1, 2, of(3))), inner()), inner());
      case 6:
      case 7:
        return I.loop(inner(), this.#oneStep(), I.brIf(0), inner());
      case 8:
        return I.block(I.loop(inner(), this.#oneStep(), I.eqz, I.brIf(1), value(), I.brTable(0, 1)));
      case 9:
        return [...this.#address(2), ...value(), ...length(), ...I.fill];
      case 10:
        return [...this.#address(2), ...this.#address(2), ...length(), ...I.copy];
      case 11:
        return [...this.#address(2), ...I.i32(of(4)), ...length(), ...I.init(of(2))];
      case 12:
        return of(4) === 0 ? I.dataDrop(of(2)) : [0xfc, 13, 1];
      case 13:
        return [...value(), ...value(), ...value(), ...I.tableInit(1)];
      case 14:
        return [...I.i32(of(12)), ...I.refNull(), ...I.i32(of(12)), ...I.tableFill(1), ...I.i32(of(9)), ...I.i32(of(9)), ...I.i32(of(9)), ...I.tableCopy(1, 0)];
      case 15:
        return [...value(), ...I.if(of(2) === 0 || this.#index === 0 ? [...value(), ...I.return] : [...value(), ...value(), ...I.returnCall(of(this.#index))])];
      default:
        return [...value(), ...I.globalSet(1)];
    }
  }

  /** Above FREE_FROM, mostly. */
  #address(depth: number): number[] {
    return [...this.value(depth - 1), ...I.i32([0xfff, 0x3ffff, 0x7fffffff][this.#choices.of(9) % 3]), 0x71, ...I.i32(FREE_FROM), 0x72];
  }

  /** Takes one from STEPS and pushes whether some are left. */
  #oneStep(): number[] {
    return [...I.globalGet(STEPS), ...I.i32(1), ...I.sub, ...I.globalSet(STEPS), ...I.globalGet(STEPS), ...I.i32(0), 0x4a];
  }
}

/** Exports run(i32, i32) → i32, and imports env.memory. */
export function randomModule(numbers: readonly number[]): Uint8Array {
  const choices = new Choices(numbers);
  const m = new ModuleBuilder().importMemory(4, 1000);
  const type = m.type([T.i32, T.i32], [T.i32]);
  const blockType = m.type([T.i32], [T.i32]);
  m.global(T.i32, true, I.i32(300));
  m.global(T.i32, true, I.i32(0));
  m.table(6, 12).table(8, 8);
  const count = 1 + choices.of(4);
  for (let index = 0; index < count; index++) {
    const code = new Code(choices, index, type, blockType);
    m.func({
      params: [T.i32, T.i32], results: [T.i32], locals: choices.of(3) === 0 ? [T.i32, [3, T.f64], T.v128] : [T.i32],
      code: [...code.statements(3), ...code.value(3)],
      ...(index === count - 1 ? { export: 'run' } : {}),
    });
  }
  m.element(0, Array.from({ length: count }, (_, index) => index)).passiveElement([0]).passiveElement([0, 0, 0]);
  m.passiveData(new Array<number>(300).fill(0x5a)).passiveData([1, 2, 3]);
  if (choices.of(2) === 0) m.export('memory', 2, 0).export('last', 3, 1);
  return m.build();
}
