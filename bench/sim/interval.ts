/** The 97.5 % quantile of Student's t for 1 … 30 degrees of freedom. */
const T_QUANTILES = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];
/** That of the normal distribution. */
const Z = 1.959964;

export interface Interval {
  mean: number;
  low: number;
  high: number;
}

/** The mean of independent repetitions and its 95 % confidence interval (Student 1908); without end where there is but one. */
export function confidence95(values: readonly number[]): Interval {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count < 2) return { mean, low: -Infinity, high: Infinity };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  const half = tQuantile(count - 1) * Math.sqrt(variance / count);
  return { mean, low: mean - half, high: mean + half };
}

/** Beyond the table: the first terms of its expansion about the normal distribution (Abramowitz & Stegun 26.7.5), good to 0.001 there. */
function tQuantile(freedom: number): number {
  if (freedom <= T_QUANTILES.length) return T_QUANTILES[freedom - 1];
  return Z + (Z ** 3 + Z) / (4 * freedom) + (5 * Z ** 5 + 16 * Z ** 3 + 3 * Z) / (96 * freedom ** 2);
}
