import { type Entry } from './directory.js';
import { type HostNumber, NO_HOST, isHostNumber } from './transport.js';

/** Under which key of the directory an identifier's holder stands, as a decimal number. */
export function identifierKey(identifier: number): string {
  return `id/${identifier}`;
}

/** Whom an identifier's entry names; NO_HOST for nobody, or nothing that could be a host. */
export function holderIn(entry: Entry | undefined): HostNumber {
  const host = entry === undefined ? NO_HOST : Number(entry.value);
  return isHostNumber(host) ? host : NO_HOST;
}

/** An identifier that is ours, and who holds those next to it. */
export class Holding {
  /** By port; NO_HOST where unknown. */
  readonly neighbours: HostNumber[];
  /** By port: 1 where that host has said that it knows of us. */
  readonly confirmed: Uint8Array;
  /** On its way to another host: nobody acts as its holder. */
  giving: boolean;

  constructor(
    readonly identifier: number,
    /** Of its entry in the directory. */
    public revision: number,
    degree: number,
  ) {
    this.neighbours = new Array<HostNumber>(degree).fill(NO_HOST);
    this.confirmed = new Uint8Array(degree);
    this.giving = false;
  }
}
