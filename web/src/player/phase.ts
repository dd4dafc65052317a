/** What the viewer is told about the stream, derived from what the player sees. */

export type Phase =
  /** Nothing was shown yet. */
  | "connecting"
  /** Pictures come, or would if the viewer pressed play. */
  | "playing"
  /** They stopped coming; the player tries to get them back. */
  | "reconnecting"
  /** The broadcast is over and was watched to its end. */
  | "ended"
  /** Given up; an edge that has media again, or the viewer's word, starts another try. */
  | "lost";

export interface Signals {
  /** The playlist said ENDLIST. */
  listEnded: boolean;
  /** The media element reached its end. */
  mediaEnded: boolean;
  /** A first frame was shown. */
  started: boolean;
  /** Seconds buffered past the play position. */
  bufferedAhead: number;
  /** Playlists or segments fail, or nothing new was listed for several target durations. */
  troubled: boolean;
  /** The trouble has outlasted the retry window. */
  givenUp: boolean;
}

/** Less than this buffered is as good as nothing: the picture stands. */
const DRY_S = 0.3;

export function phaseOf(s: Signals): Phase {
  if (s.listEnded && (s.mediaEnded || !s.started)) {
    return s.started ? "ended" : "connecting";
  }
  if (s.givenUp && s.bufferedAhead < DRY_S) {
    return "lost";
  }
  if (!s.started) {
    return "connecting";
  }
  return s.troubled && s.bufferedAhead < DRY_S ? "reconnecting" : "playing";
}
