/** The value below which a share of all values lies; `NaN` without any. */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length
    ? sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]
    : Number.NaN;
}
