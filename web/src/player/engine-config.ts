/** How hls.js is set up for each kind of source. */

import type { HlsConfig } from "hls.js";
import type { SourceKind } from "./source-choice";

type LoadPolicy = HlsConfig["playlistLoadPolicy"];

const COMMON: Partial<HlsConfig> = {
  // Without it Video.js does not see a live. liveMaxLatencyDuration stays unset on purpose: it
  // pulls a viewer who has gone back to the edge again.
  liveDurationInfinity: true,
  // Where "live" is stays with the lists: three target durations from the end by RFC 8216 section
  // 6.3.3, or PART-HOLD-BACK. Setting liveSyncDurationCount, even to its default, would override both.
  maxBufferLength: 20,
  backBufferLength: 30,
  capLevelToPlayerSize: true,
  // Light pages on slow lines: begin low, the estimate is right after the first segment.
  abrEwmaDefaultEstimate: 2_000_000,
};

const PLAIN: Partial<HlsConfig> = {
  ...COMMON,
  lowLatencyMode: false,
  // Quick failures: the engine's retry window is the one policy for how long to go on.
  manifestLoadPolicy: policy(5_000, 1, 1_000),
  playlistLoadPolicy: policy(5_000, 1, 1_000),
};

const LOW_LATENCY: Partial<HlsConfig> = {
  ...COMMON,
  lowLatencyMode: true,
  // "Live" moves so much further back with each stall.
  liveSyncOnStallIncrease: 0.2,
  // The first picture does not wait for a measurement.
  testBandwidth: false,
  // A reload blocks for a part, or up to six seconds while it is not known yet that the broadcaster
  // is gone. An edge that fails is left for the plain playlists after one more try.
  manifestLoadPolicy: policy(3_000, 0, 300),
  playlistLoadPolicy: policy(8_000, 1, 300),
  // Of the past whole segments come from storage: slow lines need a while for one. Whether the live
  // comes in time is watched by `ListVitals`.
  fragLoadPolicy: policy(4_000, 2, 200, 20_000),
};

/**
 * @param atLive whether it begins at live: then the first picture is that of the segment's beginning,
 *   the only one that needs nothing before it, and `LiveKeeper` goes to live from there
 */
export function configFor(kind: SourceKind, atLive: boolean): Partial<HlsConfig> {
  return kind === "low-latency" ? { ...LOW_LATENCY, startOnSegmentBoundary: atLive } : PLAIN;
}

/** @param totalMs what a whole answer may take, as long as its first byte if not given */
function policy(
  firstByteMs: number,
  retries: number,
  delayMs: number,
  totalMs = firstByteMs,
): LoadPolicy {
  const retry = { maxNumRetry: retries, retryDelayMs: delayMs, maxRetryDelayMs: 2 * delayMs };
  return {
    default: {
      maxTimeToFirstByteMs: firstByteMs,
      maxLoadTimeMs: totalMs,
      timeoutRetry: retry,
      errorRetry: retry,
    },
  };
}
