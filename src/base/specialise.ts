let copies = 0;

/**
 * A copy of `make` of its own, for functions that loop over typed arrays: V8 compiles what the copy returns for the very
 * arrays and numbers that it was made with.
 *
 * An optimised access to a typed array that is a parameter or a field loads the array's map, address and length anew in
 * every round and checks them; one to a constant is a compare and a move. Arrays in `const` variables around a function
 * are constants to V8, but only while that function exists once ("function context specialisation"). Of a function made
 * twice the code is shared and knows nothing of either. Evaluating the source anew makes a new function; its name must be
 * new too, else V8's compilation cache gives the old one back. bench/path/forward.ts, "driver alone", shows what this is
 * worth: it halves the cost of a frame.
 *
 * @param make refers to its own parameters and to globals only: imports and outer variables are not there in the copy.
 * It should return one function, or several, that are made once and called often: each copy is compiled anew.
 */
export function specialise<Make extends (...args: never[]) => unknown>(make: Make): Make {
  try {
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- our own source, and nothing else, a second time
    const evaluate = new Function(`return ${make.toString()}\n//# sourceURL=ringcube-${make.name}-${copies++}`) as () => Make;
    return evaluate();
  } catch (error) {
    // With --disallow-code-generation-from-strings the shared code serves as well, if slower.
    if (error instanceof EvalError) return make;
    throw error;
  }
}
