/** The source: a prepared clip, so that a publisher costs next to nothing (`-c copy`). */

import { mkdir, rename, stat } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { run } from "../../e2e/lib/process.mjs";

const cache = process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), ".cache");
const folder = path.join(cache, "marquee/bench-media");

/** Raised when the recipe changes. */
const VERSION = 1;

const SHAPES = {
  "1080p": { size: "1920x1080", kbps: 6000 },
  "720p": { size: "1280x720", kbps: 3000 },
};

/** 30 fps, closed GOPs of 2 s, no B-frames, AAC: what OBS sends with the README's settings. */
export async function clip(shape, seconds) {
  const { size, kbps } = SHAPES[shape];
  const file = path.join(folder, `${shape}30-${kbps}k-${seconds}s-${VERSION}.ts`);
  if (!(await stat(file).catch(() => null))) {
    await mkdir(folder, { recursive: true });
    const half = `${file}.${process.pid}.part`;
    const inputs = [`testsrc2=size=${size}:rate=30`, "sine=frequency=440:sample_rate=48000"];
    await run(
      "nice",
      [
        ...["-n", "10", "ffmpeg", "-v", "error", "-nostdin", "-y"],
        ...inputs.flatMap((input) => ["-f", "lavfi", "-i", input]),
        ...["-t", `${seconds}`, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"],
        ...["-bf", "0", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0"],
        ...["-b:v", `${kbps}k`, "-maxrate", `${kbps}k`, "-bufsize", `${kbps}k`],
        ...["-c:a", "aac", "-b:a", "128k", "-ac", "2", "-f", "mpegts", half],
      ],
      { timeoutMs: 1_800_000 },
    );
    await rename(half, file);
  }
  const { kbps: nominal } = SHAPES[shape];
  return { file, shape, seconds, text: `${shape}30, ${nominal / 1000} Mbit/s, 2 s GOP, AAC` };
}
