/** What the stored media really is, by ffprobe: frames, their times, codecs and sizes. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { run } from "./process.mjs";

/**
 * @typedef {object} Track
 * @property {string} codec
 * @property {number} [width]
 * @property {number} [height]
 * @property {number[]} pts seconds, in order of presentation
 * @property {number[]} keyPts those of keyframes
 */

/** ffprobe of one file: `{video, audio}`, `null` for a track that is not there. */
export async function probeFile(file) {
  const text = await run("ffprobe", [
    ...["-v", "error", "-of", "json"],
    ...["-show_entries", "packet=stream_index,pts_time,flags"],
    ...["-show_entries", "stream=index,codec_type,codec_name,width,height,has_b_frames"],
    file,
  ]);
  const { streams = [], packets = [] } = JSON.parse(text);
  const track = (type) => {
    const stream = streams.find(({ codec_type }) => codec_type === type);
    if (!stream) {
      return null;
    }
    const own = packets
      .filter(({ stream_index, pts_time }) => stream_index === stream.index && pts_time)
      .map(({ pts_time, flags }) => ({ pts: Number(pts_time), key: flags.startsWith("K") }))
      .sort((a, b) => a.pts - b.pts);
    return {
      codec: stream.codec_name,
      width: stream.width,
      height: stream.height,
      bFrames: stream.has_b_frames ?? 0,
      pts: own.map(({ pts }) => pts),
      keyPts: own.filter(({ key }) => key).map(({ pts }) => pts),
    };
  };
  return { video: track("video"), audio: track("audio") };
}

/**
 * Segments of one rung that follow each other without a discontinuity.
 *
 * @typedef {object} Stretch
 * @property {import("./playlist.mjs").Segment[]} segments
 */

/** Splits a list where its timeline breaks; gaps belong to no stretch and do not break one. */
export function stretchesOf(list) {
  const stretches = new Map();
  for (const segment of list.segments) {
    if (!segment.gap) {
      stretches.set(segment.cc, [...(stretches.get(segment.cc) ?? []), segment]);
    }
  }
  return [...stretches.values()].map((segments) => ({ segments }));
}

/** Fetches the segments as a viewer does, and probes them played one after the other. */
export async function probeSegments(broadcaster, rung, segments) {
  const dir = await mkdtemp(path.join(os.tmpdir(), "marquee-e2e-"));
  try {
    const parts = [];
    for (const { uri } of segments) {
      const response = await broadcaster.fetch(`${rung}/${uri}`);
      if (!response) {
        throw new Error(`${rung}/${uri} is listed and not there`);
      }
      const bytes = Buffer.from(await response.arrayBuffer());
      if (bytes.length === 0 || bytes.length % 188 !== 0) {
        throw new Error(`${rung}/${uri} has ${bytes.length} bytes`);
      }
      parts.push(bytes);
    }
    const file = path.join(dir, "stretch.ts");
    await writeFile(file, Buffer.concat(parts));
    return await probeFile(file);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Where a track's times jump by more than `step` s, as text; empty when it runs through. */
export function breaksOf(pts, step) {
  const breaks = [];
  for (let i = 1; i < pts.length; i += 1) {
    const gap = pts[i] - pts[i - 1];
    if (gap > step) {
      breaks.push(`${gap.toFixed(3)} s after ${pts[i - 1].toFixed(3)}`);
    }
  }
  return breaks;
}

/** Seconds from the first frame to the end of the last. */
export function lengthOf(pts) {
  if (pts.length < 2) {
    return 0;
  }
  const frame = (pts.at(-1) - pts[0]) / (pts.length - 1);
  return pts.at(-1) - pts[0] + frame;
}
