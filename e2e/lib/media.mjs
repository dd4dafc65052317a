/**
 * Prepared inputs: MPEG-TS files as broadcasters' encoders make them, pushed with `-c copy` so that
 * a test costs the ladder and nothing else. Each is made once.
 */

import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { mediaDir } from "./paths.mjs";
import { run } from "./process.mjs";

/** Raised when a recipe changes, so that files made by the old one are not used. */
const VERSION = 1;

/**
 * @typedef {object} Input
 * @property {string} name
 * @property {number} seconds
 * @property {{size: [number, number], fps: number, gopS: number} | null} video
 * @property {boolean} audio
 * @property {(file: string) => Promise<void>} make
 */

const TONE = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"];
const AAC = ["-c:a", "aac", "-b:a", "96k", "-ac", "2"];

function picture([width, height], fps) {
  return ["-f", "lavfi", "-i", `testsrc2=size=${width}x${height}:rate=${fps}`];
}

/** libx264 with a keyframe exactly every `gopS`; closed GOPs, `bFrames` as wanted. */
function h264({ fps, gopS, kbps, bFrames = 0 }) {
  const frames = String(Math.round(fps * gopS));
  const rate = [`${kbps}k`, `${kbps}k`, `${kbps * 2}k`];
  return [
    ...["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", String(bFrames)],
    ...["-g", frames, "-keyint_min", frames, "-sc_threshold", "0"],
    ...["-b:v", rate[0], "-maxrate", rate[1], "-bufsize", rate[2]],
  ];
}

const ffmpeg = (args, file) =>
  run("ffmpeg", ["-v", "error", "-nostdin", "-y", ...args, "-f", "mpegts", file], {
    timeoutMs: 600_000,
  });

/** A steady picture, with a tone unless `audio` is false. */
function steady(name, { seconds, size, fps, gopS = 2, kbps, audio = true, bFrames = 0, codec }) {
  return {
    name,
    seconds,
    video: { size, fps, gopS },
    audio,
    make: (file) =>
      ffmpeg(
        [
          ...picture(size, fps),
          ...(audio ? TONE : []),
          ...["-t", String(seconds)],
          ...(codec ?? h264({ fps, gopS, kbps, bFrames })),
          ...(audio ? AAC : []),
        ],
        file,
      ),
  };
}

const HEVC = [
  ...["-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-b:v", "700k"],
  ...["-x265-params", "keyint=50:min-keyint=50:scenecut=0:open-gop=0:bframes=0:log-level=error"],
];

/** @type {Record<string, Input>} */
export const INPUTS = Object.fromEntries(
  [
    // Four rungs at half the usual frame rate: the ladder is real time beside a browser on 2 cores.
    steady("full-hd", { seconds: 150, size: [1920, 1080], fps: 15, kbps: 3000 }),
    // The cheapest ladder of two rungs, for tests about everything but the picture.
    steady("sd", { seconds: 200, size: [854, 480], fps: 25, kbps: 900 }),

    steady("video-only", { seconds: 12, size: [640, 360], fps: 25, kbps: 600, audio: false }),
    steady("portrait", { seconds: 12, size: [540, 960], fps: 25, kbps: 900 }),
    steady("480p", { seconds: 12, size: [854, 480], fps: 25, kbps: 900 }),
    steady("900p", { seconds: 12, size: [1600, 900], fps: 10, kbps: 1500 }),
    steady("b-frames", { seconds: 12, size: [854, 480], fps: 25, kbps: 900, bFrames: 2 }),
    steady("gop-2.5", { seconds: 12.5, size: [854, 480], fps: 24, gopS: 2.5, kbps: 900 }),
    steady("gop-0.5", { seconds: 12, size: [854, 480], fps: 24, gopS: 0.5, kbps: 1200 }),
    steady("hevc", { seconds: 12, size: [854, 480], fps: 25, kbps: 700, codec: HEVC }),
    {
      name: "audio-only",
      seconds: 12,
      video: null,
      audio: true,
      make: (file) => ffmpeg([...TONE, "-t", "12", ...AAC], file),
    },
    {
      // Sound for 6 s, none for 20 s, sound again; the audio PID sends nothing in between.
      name: "audio-vanishes",
      seconds: 34,
      video: { size: [640, 360], fps: 25, gopS: 2 },
      audio: true,
      silence: [6, 26],
      make: (file) =>
        ffmpeg(
          [
            ...picture([640, 360], 25),
            ...TONE,
            ...["-t", "34", "-af", "aselect='not(between(t,6,26))'"],
            ...h264({ fps: 25, gopS: 2, kbps: 600 }),
            ...AAC,
          ],
          file,
        ),
    },
    {
      // Keyframes every 2 s at first, then every 3 s, as after a change in the encoder's settings.
      name: "gop-changes",
      seconds: 18,
      video: { size: [854, 480], fps: 25, gopS: 2 },
      audio: true,
      make: (file) =>
        ffmpeg(
          [
            ...picture([854, 480], 25),
            ...TONE,
            ...["-t", "18"],
            ...h264({ fps: 25, gopS: 10, kbps: 900 }),
            ...["-force_key_frames", "0,2,4,6,9,12,15"],
            ...AAC,
          ],
          file,
        ),
    },
  ].map((input) => [input.name, input]),
);

/** The file of an input, made if it is not there yet. */
export async function prepared(name) {
  const input = INPUTS[name];
  const file = path.join(mediaDir, `${name}-${VERSION}.ts`);
  if (!(await stat(file).catch(() => null))) {
    await mkdir(mediaDir, { recursive: true });
    const half = `${file}.${process.pid}.part`;
    await input.make(half);
    await rename(half, file);
  }
  return file;
}

/** Makes everything that is missing; some minutes the first time, with a word about it. */
export async function prepareAll(report = () => {}) {
  for (const name of Object.keys(INPUTS)) {
    const began = performance.now();
    await prepared(name);
    const seconds = (performance.now() - began) / 1000;
    if (seconds > 0.5) {
      report(`made ${name} (${seconds.toFixed(1)} s)`);
    }
  }
  await writeFile(path.join(mediaDir, "README"), "Inputs of Marquee's end-to-end tests.\n");
}
