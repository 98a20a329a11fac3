/** What went wrong, for code that must decide; the message is for people. */
export type RingcubeErrorCode =
  /** An argument has the wrong type or form. */
  | 'ERR_INVALID_ARGUMENT'
  /** An argument has the right form, but lies outside its range. */
  | 'ERR_OUT_OF_RANGE'
  /** The device broke the protocol: it said something that no correct device says. */
  | 'ERR_DEVICE'
  /** The device stopped this queue after a bad descriptor; reset the queue to go on. */
  | 'ERR_QUEUE_BROKEN'
  /** The object was closed before the call. */
  | 'ERR_CLOSED'
  /** The operating system refused; the message names the call and its errno. */
  | 'ERR_SYSTEM'
  /** A file or a frame is not in the format it claims. */
  | 'ERR_FORMAT'
  /** This machine, or this build, cannot do it. */
  | 'ERR_UNSUPPORTED';

/** The only error that Ringcube throws on purpose; anything else is a bug of ours. */
export class RingcubeError extends Error {
  override readonly name = 'RingcubeError';
  readonly code: RingcubeErrorCode;

  constructor(code: RingcubeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const SHOWN_CHARACTERS = 60;

function shown(got: unknown): string {
  let text: string;
  if (typeof got === 'string') text = JSON.stringify(got);
  else if (typeof got === 'function') text = 'a function';
  else if (typeof got === 'object' && got !== null) text = Array.isArray(got) ? 'an array' : 'an object';
  else text = String(got);
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS - 1)}…`;
}

/**
 * One line for a wrong argument: `queueSize: got 100, must be a power of two from 2 to 32768`.
 *
 * @param what name of the argument, as the caller wrote it
 * @param got the value received, shown shortened to one line
 * @param right what would be right, continuing "must be"
 */
export function invalid(what: string, got: unknown, right: string): RingcubeError {
  return new RingcubeError('ERR_INVALID_ARGUMENT', `${what}: got ${shown(got)}, must be ${right}`);
}
