/**
 * Video.js around a screen that plays already: it is the controls, Marquee's engine the rest. Where
 * the browser plays HLS by itself (no Media Source Extensions), Video.js hands it the source.
 */

import videojs from "video.js/core";
import type Player from "video.js/dist/types/player";
import type { HlsEngine } from "./hls-engine";

const HLS_TYPE = "application/vnd.apple.mpegurl";

export interface HlsSource {
  src: string;
  type: typeof HLS_TYPE;
}

export const hlsSource = (src: string): HlsSource => ({ src, type: HLS_TYPE });

interface Html5Tech {
  el(): HTMLVideoElement;
  options_: { engine?: HlsEngine };
  trigger(event: string): void;
  sourceHandler_?: unknown;
}

interface SourceHandlers {
  registerSourceHandler(handler: object, index: number): void;
}

/** The library's types demand a second argument that is only for the `(start, end)` form. */
const createTimeRanges = videojs.time.createTimeRanges as unknown as (
  ranges: [number, number][],
) => TimeRanges;

/** What Video.js keeps for a source: the engine, and the questions it defers to it. */
class EngineSourceHandler {
  constructor(readonly engine: HlsEngine) {}

  /** Ends at the live position, so that the right end of the seek bar is a safe place. */
  seekable(): TimeRanges {
    const range = this.engine.seekableRange;
    return createTimeRanges(range ? [range] : []);
  }
}

const isHls = (type: string | undefined) => (/mpegurl/i.test(type ?? "") ? "probably" : "");

// Chromium answers "maybe" to native HLS and then fails at it: ours must be asked first.
(videojs.getTech("Html5") as unknown as SourceHandlers).registerSourceHandler(
  {
    canPlayType: isHls,
    canHandleSource: (source: { type?: string }, { engine }: { engine?: HlsEngine }) =>
      engine ? isHls(source.type) : "",
    handleSource: (_source: HlsSource, { options_: { engine } }: Html5Tech) => {
      if (!engine) {
        throw new Error("a source for the engine, and no engine");
      }
      return new EngineSourceHandler(engine);
    },
  },
  0,
);

/** The engine that plays in `player`, `null` where the browser plays by itself. */
export function engineOf(player: Player): HlsEngine | null {
  const handler = techOf(player)?.sourceHandler_;
  return handler instanceof EngineSourceHandler ? handler.engine : null;
}

/** Tells `player` what its media element has been through before the player was there to hear it. */
export function tellOfThePast(player: Player): void {
  const tech = techOf(player);
  const video = tech?.el();
  if (!tech || !video) {
    return;
  }
  const { HAVE_METADATA, HAVE_CURRENT_DATA, HAVE_FUTURE_DATA } = HTMLMediaElement;
  const past: [string, boolean][] = [
    ["loadstart", video.networkState !== HTMLMediaElement.NETWORK_EMPTY],
    ["durationchange", video.readyState >= HAVE_METADATA],
    ["loadedmetadata", video.readyState >= HAVE_METADATA],
    ["loadeddata", video.readyState >= HAVE_CURRENT_DATA],
    ["canplay", video.readyState >= HAVE_FUTURE_DATA],
    ["volumechange", video.muted],
    ["play", !video.paused],
    ["playing", !video.paused && video.readyState >= HAVE_FUTURE_DATA],
    ["ended", video.ended],
  ];
  for (const [event, was] of past) {
    if (was) {
      tech.trigger(event);
    }
  }
}

function techOf(player: Player): Html5Tech | undefined {
  return player.tech(true) as unknown as Html5Tech | undefined;
}

// The progress bar goes past the engine, straight to the media element; it is told beforehand.
videojs.use(HLS_TYPE, (player: Player) => ({
  setSource: (source: HlsSource, next: (error: null, source: HlsSource) => void) =>
    next(null, source),
  setCurrentTime: (time: number) => {
    engineOf(player)?.viewerSeeks(time);
    return time;
  },
}));

export { videojs };
