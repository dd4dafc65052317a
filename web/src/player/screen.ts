/**
 * The picture of one live: a media element and the engine that fills it. It needs neither the page
 * nor the controls, so that it can begin while the code of both is still on its way.
 */

import { HlsEngine } from "./hls-engine";

/** What is played; another one is another screen. */
export interface Source {
  /** The plain playlists' master. */
  src: string;
  /** The low-latency edge's, which plays while it answers. */
  lowLatencySrc: string | null;
}

export interface Screen {
  readonly source: Source;
  /** To be put into the page. Video.js makes it its own, and the picture in it never stops for that. */
  readonly box: HTMLElement;
  readonly video: HTMLVideoElement;
  /** `null` where the browser plays HLS by itself. */
  readonly engine: HlsEngine | null;
  close(): void;
}

/** How long a lost stream is retried: a broadcaster has half a minute to come back, and this is longer. */
const RETRY_WINDOW_MS = 60_000;

export function openScreen(source: Source): Screen {
  const box = document.createElement("div");
  // What Video.js knows a box by into which it need not move the element: iOS would stop it.
  box.dataset.vjsPlayer = "";
  const video = document.createElement("video");
  video.playsInline = true;
  video.preload = "auto";
  box.append(video);
  const engine = HlsEngine.isSupported()
    ? new HlsEngine(video, source.src, {
        retryWindowMs: RETRY_WINDOW_MS,
        lowLatencyUrl: source.lowLatencySrc,
      })
    : null;
  const close = () => {
    engine?.dispose();
    box.remove();
  };
  return { source, box, video, engine, close };
}
