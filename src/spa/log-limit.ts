const LINES_A_SECOND = 10;

/** What an agent says, but not more than ten lines a second. */
export class LogLimit {
  written = 0;
  dropped = 0;
  private second = -Infinity;
  private lines = 0;

  constructor(
    private readonly nowUs: () => number,
    private readonly onLine: (line: string) => void,
  ) {}

  readonly write = (line: string): void => {
    const second = Math.floor(this.nowUs() / 1e6);
    if (second !== this.second) {
      this.second = second;
      this.lines = 0;
    }
    if (++this.lines > LINES_A_SECOND) {
      this.dropped++;
      return;
    }
    this.written++;
    this.onLine(line);
  };
}
