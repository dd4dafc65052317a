/** A small ladder of prepared segments for the player's own tests. */

import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { mediaDir } from "./paths.mjs";
import { run } from "./process.mjs";

const VERSION = 2;
const SECONDS = 180;
const FPS = 10;
const RUNGS = [
  { name: "1080p", width: 1920, height: 1080, bandwidth: 2_400_000 },
  { name: "720p", width: 1280, height: 720, bandwidth: 1_400_000 },
  { name: "480p", width: 854, height: 480, bandwidth: 800_000 },
  { name: "360p", width: 640, height: 360, bandwidth: 500_000 },
].map((rung) => ({ ...rung, codecs: "avc1.42c028,mp4a.40.2" }));

/** Makes it unless it is there; half a minute of one core, once. */
export async function prepareLadder() {
  const dir = path.join(mediaDir, `player-ladder-${VERSION}`);
  const done = path.join(dir, "done");
  const made = { dir, rungs: RUNGS, segments: SECONDS / 2 };
  if (await readFile(done).catch(() => null)) {
    return made;
  }
  const half = `${dir}.part`;
  await rm(half, { recursive: true, force: true });
  const outputs = [];
  for (const { name, width, height } of RUNGS) {
    await mkdir(path.join(half, name), { recursive: true });
    outputs.push(
      ...["-map", "0:v", "-map", "1:a", "-s", `${width}x${height}`, "-sws_flags", "fast_bilinear"],
      ...["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "baseline", "-crf", "30"],
      ...["-g", String(FPS * 2), "-sc_threshold", "0", "-pix_fmt", "yuv420p"],
      ...["-c:a", "aac", "-b:a", "64k", "-ac", "2", "-f", "hls", "-hls_time", "2"],
      ...["-hls_list_size", "0", "-hls_segment_filename", path.join(half, name, "%d.ts")],
      path.join(half, name, "made.m3u8"),
    );
  }
  const args = ["-v", "error", "-y", "-f", "lavfi", "-t", String(SECONDS)];
  args.push("-i", `testsrc2=size=960x540:rate=${FPS}`, "-f", "lavfi", "-t", String(SECONDS));
  args.push("-i", "sine=frequency=330:sample_rate=48000", ...outputs);
  await run("ffmpeg", args, { timeoutMs: 600_000 });
  await writeFile(path.join(half, "done"), "");
  await rm(dir, { recursive: true, force: true });
  await rename(half, dir);
  return made;
}
