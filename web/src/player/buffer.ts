/** Questions to the ranges of a media element. */

/** Holes up to this long are stepped over by the engine and count as buffered. */
const HOLE_S = 0.5;

/** Seconds that can be played from `time` on without loading. */
export function bufferedAhead(ranges: TimeRanges, time: number): number {
  let end = time;
  for (let i = 0; i < ranges.length; i += 1) {
    if (ranges.start(i) <= end + HOLE_S && ranges.end(i) > end) {
      end = ranges.end(i);
    }
  }
  return end - time;
}

/** Where media goes on after `time`, or `null` when nothing later is buffered. */
export function nextBufferedStart(ranges: TimeRanges, time: number): number | null {
  for (let i = 0; i < ranges.length; i += 1) {
    if (ranges.start(i) > time) {
      return ranges.start(i);
    }
  }
  return null;
}
