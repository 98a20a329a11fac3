// Numbers as flags have them; needs no addon.
import { InvalidArgumentError } from 'commander';

/** A parser of a flag's whole number. */
export function wholeNumber(low: number, high: number, what = 'a whole number'): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high) throw new InvalidArgumentError(`It must be ${what} from ${low} to ${high}.`);
    return value;
  };
}

/** What Random takes. */
export const seed = wholeNumber(0, 2 ** 32 - 1);

export const port = wholeNumber(1, 65535, 'a port');

export function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 1e6)) throw new InvalidArgumentError('It must be a number of seconds above 0.');
  return value;
}
