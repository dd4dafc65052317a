/**
 * Glass to glass: a broadcaster's encoder that paints the wall clock into each frame as it is made,
 * and the reading of it from the frames that a browser shows. Both run on this machine's one clock.
 */

import { ageOf, BLOCKS, blocksOf, momentOf, STRIP_SHARE } from "./clock-code.mjs";
import { start } from "./process.mjs";
import { sleep } from "./wait.mjs";

const [DARK, LIGHT] = [16, 235];
const QUICK_END_MS = 5_000;
/** Between frames while the encoder looks at its inputs. */
const BEFORE_CONNECTED_MS = 150;

/**
 * Publishes by SRT until stopped: H.264 without B-frames, a keyframe every 2 s, AAC; as OBS sends it
 * with its "zerolatency" tuning.
 */
export class PaintedPublisher {
  #process;
  #key;
  #timer;

  /**
   * @param {object} options
   * @param {string} options.srtUrl
   * @param {string} options.key
   * @param {[number, number]} [options.size] both divisible by 32
   * @param {number} [options.fps]
   * @param {number} [options.kbps]
   * @param {number} [options.latencyMs] of SRT
   */
  constructor({ srtUrl, key, size = [1280, 720], fps = 30, kbps = 3000, latencyMs = 120 }) {
    this.#key = key;
    const [width, height] = size;
    const strip = Math.round(height * STRIP_SHARE);
    const target = `${srtUrl}?streamid=publish:${key}&pkt_size=1316&latency=${latencyMs * 1000}`;
    const rate = [`${kbps}k`, "-maxrate", `${kbps}k`, "-bufsize", `${kbps}k`];
    this.#process = start(
      "ffmpeg",
      [
        ...["-hide_banner", "-v", "error", "-progress", "pipe:1", "-stats_period", "0.05"],
        ...["-f", "rawvideo", "-pix_fmt", "gray", "-video_size", `${BLOCKS}x2`],
        ...["-framerate", `${fps}`, "-i", "pipe:0"],
        ...["-f", "lavfi", "-i", `testsrc2=size=${width}x${height - strip}:rate=${fps}`],
        ...["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"],
        "-filter_complex",
        `[0:v]scale=${width}:${strip}:flags=neighbor:in_range=tv:out_range=tv,format=yuv420p[clock];[clock][1:v]vstack[v]`,
        ...["-map", "[v]", "-map", "2:a", "-fps_mode", "passthrough"],
        ...["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0"],
        ...["-g", `${fps * 2}`, "-keyint_min", `${fps * 2}`, "-sc_threshold", "0", "-b:v", ...rate],
        ...["-c:a", "aac", "-b:a", "128k", "-ac", "2"],
        ...["-max_interleave_delta", "1", "-muxdelay", "0", "-flush_packets", "1", "-f", "mpegts"],
        target,
      ],
      { stdio: ["pipe", "pipe", "pipe"] },
    );
    this.exited = this.#process.exited;
    this.#paint(fps);
  }

  /**
   * Slowly until the encoder is connected, and in real time from then on: what it was given before would leave
   * it in one burst, and everything after that would be late by its length.
   */
  #paint(fps) {
    const { stdin, stdout } = this.#process.child;
    // Its end is told by `exited`.
    stdin.on("error", () => {});
    let began = null;
    let frame = 0;
    stdout.once("data", () => {
      began = performance.now();
    });
    const paint = () => {
      const row = Buffer.from(blocksOf(Date.now()).map((lit) => (lit ? LIGHT : DARK)));
      stdin.write(Buffer.concat([row, row]));
      frame += began === null ? 0 : 1;
      const wait =
        began === null ? BEFORE_CONNECTED_MS : began + (frame * 1000) / fps - performance.now();
      this.#timer = setTimeout(paint, wait);
    };
    paint();
  }

  get pid() {
    return this.#process.child.pid;
  }

  /** Its last lines, without the key and the progress. */
  log() {
    const lines = this.#process.tail().split("\n");
    const words = lines.filter((line) => !/^\w+=/.test(line));
    return words.join("\n").replaceAll(this.#key, "***");
  }

  async stop() {
    clearTimeout(this.#timer);
    this.#process.child.stdin.end();
    await Promise.race([this.exited, sleep(QUICK_END_MS)]);
    this.#process.child.kill("SIGKILL");
    await this.exited;
  }
}

/**
 * Watches the painted clock of a page's video for a while.
 *
 * `at` is when the frame had been drawn and read, so a latency is never less than the viewer's. `shown` is
 * what the player's own read-out said.
 *
 * @param {import("playwright-core").Page} page
 * @returns {Promise<{samples: {at: number, latencyMs: number, lines: number, shown: number | null}[], unread: number,
 *   waits: number}>} `unread`: frames without a legible clock; `waits`: how often the picture stood
 */
export async function readClock(page, ms, everyNth = 3) {
  const { raw, waits } = await page.evaluate(collect, {
    ms,
    everyNth,
    blocks: BLOCKS,
    share: STRIP_SHARE,
  });
  const read = raw.map(({ at, levels, ...rest }) => ({ at, moment: momentOf(levels), ...rest }));
  const legible = read.filter(({ moment }) => moment !== null);
  return {
    samples: legible.map(({ at, moment, lines, shown }) => ({
      at,
      latencyMs: ageOf(moment, at),
      lines,
      shown,
    })),
    unread: read.length - legible.length,
    waits,
  };
}

/** Runs in the page. */
function collect({ ms, everyNth, blocks, share }) {
  const perBlock = 4;
  const video = document.querySelector("video");
  const readout = document.querySelector("[data-testid=latency]");
  const canvas = new OffscreenCanvas(blocks * perBlock, 2);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const raw = [];
  let waits = 0;
  const onWaiting = () => {
    waits += video.seeking ? 0 : 1;
  };
  const read = () => {
    if (video.parentElement.querySelector(".mq-still")) {
      // The page has put the last picture in front: while Chromium seeks beneath, it may paint the keyframe first.
      return;
    }
    const { videoWidth: width, videoHeight: height } = video;
    const strip = height * share;
    // The middle of the strip: its rims are blurred by scaling.
    context.drawImage(video, 0, strip / 4, width, strip / 2, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, 1);
    const level = (column) => data[column * 4 + 1];
    const levels = Array.from({ length: blocks }, (_, block) => {
      const first = block * perBlock;
      return (level(first + 1) + level(first + 2)) / 2;
    });
    const shown = readout?.dataset.seconds;
    raw.push({ at: Date.now(), levels, lines: height, shown: shown ? Number(shown) : null });
  };
  video.addEventListener("waiting", onWaiting);
  return new Promise((resolve) => {
    const done = () => {
      video.removeEventListener("waiting", onWaiting);
      resolve({ raw, waits });
    };
    // By a timer: a picture that stands has no frames to count.
    const timer = setTimeout(done, ms);
    let frame = 0;
    const onFrame = () => {
      if (frame % everyNth === 0) {
        read();
      }
      frame += 1;
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
    window.addEventListener("pagehide", () => clearTimeout(timer), { once: true });
  });
}
