/**
 * Video.js with Marquee's engine: sources of HLS type are handed to `HlsEngine`, all else (and
 * browsers without Media Source Extensions) to the browser itself.
 */

import videojs from "video.js/core";
import type Player from "video.js/dist/types/player";
import { type EngineOptions, HlsEngine } from "./hls-engine";

export const HLS_TYPE = "application/vnd.apple.mpegurl";

interface Source {
  src: string;
  type?: string;
}

interface Html5Tech {
  el(): HTMLVideoElement;
  options_: { engine?: EngineOptions };
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
  readonly engine: HlsEngine;

  constructor(source: Source, tech: Html5Tech) {
    this.engine = new HlsEngine(
      tech.el(),
      source.src,
      tech.options_.engine ?? { retryWindowMs: 60_000, lowLatencyUrl: null },
    );
  }

  /** Ends at the live position, so that the right end of the seek bar is a safe place. */
  seekable(): TimeRanges {
    const range = this.engine.seekableRange;
    return createTimeRanges(range ? [range] : []);
  }

  dispose(): void {
    this.engine.dispose();
  }
}

function isHls(type: string | undefined): boolean {
  return /mpegurl/i.test(type ?? "") && HlsEngine.isSupported();
}

// Chromium answers "maybe" to native HLS and then fails at it: ours must be asked first.
(videojs.getTech("Html5") as unknown as SourceHandlers).registerSourceHandler(
  {
    canPlayType: (type: string) => (isHls(type) ? "probably" : ""),
    canHandleSource: (source: Source) => (isHls(source.type) ? "probably" : ""),
    handleSource: (source: Source, tech: Html5Tech) => new EngineSourceHandler(source, tech),
  },
  0,
);

/** The engine that plays in `player`, `null` where the browser plays by itself. */
export function engineOf(player: Player): HlsEngine | null {
  const tech = player.tech(true) as unknown as Html5Tech | undefined;
  const handler = tech?.sourceHandler_;
  return handler instanceof EngineSourceHandler ? handler.engine : null;
}

// The progress bar goes past the engine, straight to the media element; it is told beforehand.
videojs.use(HLS_TYPE, (player: Player) => ({
  setSource: (source: Source, next: (error: null, source: Source) => void) => next(null, source),
  setCurrentTime: (time: number) => {
    engineOf(player)?.viewerSeeks(time);
    return time;
  },
}));

export { videojs };
