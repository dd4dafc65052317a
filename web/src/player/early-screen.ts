/**
 * Opens a live's screen, in code that is loaded for that: before the page is there to show it, for
 * the live that the page was opened for. The page takes that screen when it has got so far.
 */

import { isOnAir, type PublicStream } from "../api/public-stream";
import type { Screen, Source } from "./screen";

/** A page whose code needs longer than this has failed, or shows something else. */
const TAKEN_WITHIN_MS = 15_000;

let early: Promise<Screen | null> | null = null;

/**
 * Plays the stream as soon as it is known, if it is on air. Fulfilled when the code for that has run:
 * the page's own, which keeps a browser busy for longer than a playlist takes, can come then.
 */
export async function openEarly(stream: Promise<PublicStream>): Promise<void> {
  const code = import("./screen");
  const opened = Promise.all([stream, code]).then(([{ hls_url, ll_hls_url, ...rest }, screens]) =>
    hls_url && isOnAir(rest)
      ? screens.openScreen({ src: hls_url, lowLatencySrc: ll_hls_url ?? null })
      : null,
  );
  // The page asks again for what could not be had, and tells of it.
  early = opened.catch(() => null);
  setTimeout(dropEarly, TAKEN_WITHIN_MS);
  await code.catch(() => undefined);
}

/** A screen for `source`; the one that plays it already, if there is one. */
export async function screenFor(source: Source): Promise<Screen> {
  const taken = await takeEarly();
  if (taken?.source.src === source.src) {
    return taken;
  }
  taken?.close();
  const { openScreen } = await import("./screen");
  return openScreen(source);
}

function takeEarly(): Promise<Screen | null> | null {
  const taken = early;
  early = null;
  return taken;
}

async function dropEarly(): Promise<void> {
  const screen = await takeEarly();
  screen?.close();
}
