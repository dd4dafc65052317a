/** Time since a broadcast began, as `4:05` or `1:04:05`; `null` without a valid start. */
export function elapsed(startedAt: string | null | undefined, nowMs: number): string | null {
  const start = startedAt ? Date.parse(startedAt) : Number.NaN;
  if (Number.isNaN(start)) {
    return null;
  }
  const total = Math.max(0, Math.floor((nowMs - start) / 1_000));
  const hours = Math.floor(total / 3_600);
  const minutes = Math.floor((total % 3_600) / 60);
  const seconds = String(total % 60).padStart(2, "0");
  return hours > 0
    ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}`
    : `${minutes}:${seconds}`;
}
