/**
 * A nanosecond, the finest that any clock here shows: a budget that is short of a cost by less than this is not short, it was
 * rounded. Times since boot carry an error of 10⁻⁴ µs in a double.
 */
export const GRAIN_US = 1e-3;

//      ┌──── deadline D ────┐
//      │                    │
//    ──●────────────────────┴─────────┬──▶ t        at ● a budget Q begins
//      │                    d         r
//      └──────────── period P ────────┘             r = d − D + P: the next may begin
//
//              wake at t ≥ r                        d = t + D, a new budget
//    idle ──▶  wake at d ≤ t < r                    throttled: this budget's time is over
//              wake at t < d, with more left        D < P: what is too much is lost
//              than Q/D of the time to d            D = P: d = t + D, a new budget
//              wake at t < d, otherwise             goes on with d and what is left
//
//    throttled ──at r──▶ d += P, a new budget       whether its jobs wait or not

/**
 * A constant-bandwidth server (Abeni & Buttazzo 1998) with a deadline that may lie before the period's end, throttled hard: a
 * budget `budgetUs` in each period `periodUs`, to be had by `relativeDeadlineUs` after the period began.
 *
 * With the textbook's Q/P in the rule for waking up, a server with D < P that sleeps often gets far more than its share; the
 * rules here are those of Abeni, Lipari, Parri & Sun 2015, as in Linux's SCHED_DEADLINE. A budget that was overdrawn is a debt,
 * paid by the budgets that follow.
 *
 * Pure in its arguments: it has no clock, and times may be of any.
 */
export class Cbs {
  /** Budget left; negative after an overrun. */
  leftUs: number;
  /** Absolute. */
  deadlineUs: number;
  /** Must not run before replenishUs. */
  throttled: boolean;

  /** 0 < budgetUs ≤ relativeDeadlineUs ≤ periodUs is the caller's to see to. */
  constructor(
    readonly budgetUs: number,
    readonly periodUs: number,
    readonly relativeDeadlineUs: number,
  ) {
    this.leftUs = 0;
    this.deadlineUs = -Infinity;
    this.throttled = false;
  }

  /** When the next budget may begin. */
  get replenishUs(): number {
    return this.deadlineUs - this.relativeDeadlineUs + this.periodUs;
  }

  /**
   * The server has work again, and had none.
   *
   * @param guardUs nearer to the deadline than this what is left must not be used: where jobs are not preempted, the server
   * might find itself blocked for longer (admission.ts)
   */
  wake(nowUs: number, guardUs = 0): void {
    const { budgetUs, relativeDeadlineUs, periodUs } = this;
    const restUs = this.deadlineUs - nowUs;
    if (nowUs >= this.replenishUs) this.begin(nowUs + relativeDeadlineUs);
    else if (this.throttled) return;
    // q/(d − t) > Q/D
    else if (relativeDeadlineUs === periodUs && this.leftUs * relativeDeadlineUs > budgetUs * restUs) this.begin(nowUs + relativeDeadlineUs);
    else if (restUs <= 0 || restUs < guardUs) this.throttled = true;
    else this.leftUs = Math.min(this.leftUs, (budgetUs * restUs) / relativeDeadlineUs);
  }

  /** Ends throttling, if its time has come, of a server that has work. */
  replenish(nowUs: number): void {
    if (!this.throttled || nowUs < this.replenishUs) return;
    const nextUs = this.deadlineUs + this.periodUs;
    // Whoever looks later than a whole deadline (a suspended process) must not meet a backlog of old budgets.
    this.begin(nextUs > nowUs ? nextUs : nowUs + this.relativeDeadlineUs);
  }

  /** Gives up what is left of the budget: it is too little for the work that waits. */
  throttle(): void {
    this.throttled = true;
  }

  /** Takes time used from the budget of a server that has been woken. */
  charge(usedUs: number): void {
    this.leftUs -= usedUs;
    if (this.leftUs > 0) return;
    this.throttled = true;
    // Budgets that only pay a debt are skipped, so that one replenishment is always enough.
    const owed = Math.floor(-this.leftUs / this.budgetUs);
    this.leftUs += owed * this.budgetUs;
    this.deadlineUs += owed * this.periodUs;
  }

  /** Whether a job of this cost may start. */
  affords(costUs: number): boolean {
    return !this.throttled && this.leftUs >= costUs - GRAIN_US;
  }

  /** The deadline that a job released now would run under; Infinity if it would have to wait. Changes nothing. */
  deadlineIfWoken(nowUs: number, costUs: number, guardUs = 0): number {
    const { leftUs, deadlineUs, throttled } = this;
    this.wake(nowUs, guardUs);
    const wouldBeUs = this.affords(costUs) ? this.deadlineUs : Infinity;
    this.leftUs = leftUs;
    this.deadlineUs = deadlineUs;
    this.throttled = throttled;
    return wouldBeUs;
  }

  private begin(deadlineUs: number): void {
    this.deadlineUs = deadlineUs;
    this.leftUs = Math.min(this.budgetUs, this.leftUs + this.budgetUs);
    this.throttled = false;
  }
}
