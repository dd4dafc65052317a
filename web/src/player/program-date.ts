/** From a moment of the broadcast to a place in a playlist. */

/** What is read of hls.js' `LevelDetails`. */
export interface DatedList {
  fragments: readonly { start: number; programDateTime: number | null }[];
  /** Media time at which the list begins. */
  fragmentStart: number;
  /** Media time at which it ends. */
  edge: number;
}

/** The list's very end is no place to begin: there is nothing to show there. */
const BEFORE_END_S = 0.1;

/**
 * Media time of a moment (unix ms): two lists of one broadcast have different times for it. A moment
 * past the end of the list is at its end, one before it at its beginning; `null` without dates.
 */
export function positionOf(dateMs: number, list: DatedList): number | null {
  const dated = list.fragments.filter(({ programDateTime }) => programDateTime !== null);
  const anchor =
    dated.findLast(({ programDateTime }) => (programDateTime ?? 0) <= dateMs) ?? dated[0];
  if (!anchor || anchor.programDateTime === null) {
    return null;
  }
  const position = anchor.start + (dateMs - anchor.programDateTime) / 1_000;
  return Math.max(list.fragmentStart, Math.min(position, list.edge - BEFORE_END_S));
}
