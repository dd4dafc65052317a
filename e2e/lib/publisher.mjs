/** A broadcaster's encoder: ffmpeg that sends a prepared file by SRT or RTMP in real time. */

import { start } from "./process.mjs";
import { sleep } from "./wait.mjs";

const LATENCY_MS = 200;

/** `srt://host:port` with the parameters of a caller; ffmpeg counts the latency in µs. */
export function srtTarget(srtUrl, key) {
  const { hostname, port } = new URL(srtUrl.replace(/^srt:/, "http:"));
  return `srt://${hostname}:${port}?mode=caller&streamid=publish:${key}&latency=${LATENCY_MS * 1000}&pkt_size=1316&connect_timeout=3000&linger=2`;
}

/** The server and the key, as OBS puts them together. */
export const rtmpTarget = (rtmpUrl, key) => `${rtmpUrl}/live/${key}`;

/**
 * Sends a file to a whole address, as somebody pastes it; what `start` returns.
 *
 * @param {string} url `rtmp://…` or `srt://…`
 * @param {string} file
 */
export function pushTo(url, file) {
  const format = url.startsWith("rtmp:") ? "flv" : "mpegts";
  return start("ffmpeg", ["-v", "error", "-re", "-i", file, "-c", "copy", "-f", format, url]);
}

export class Publisher {
  #process;
  #key;
  /** Set once it has ended, by itself or not. */
  ended = null;

  /**
   * @param {object} options
   * @param {string} [options.srtUrl]
   * @param {string} [options.rtmpUrl] instead of it
   * @param {string} options.key
   * @param {string} options.file
   * @param {boolean} [options.loop] from the beginning again at the end, timestamps going on
   * @param {number} [options.fromS] begin there in the file
   */
  constructor({ srtUrl, rtmpUrl, key, file, loop = false, fromS = 0 }) {
    this.#key = key;
    const args = ["-hide_banner", "-nostdin", "-v", "warning", "-re"];
    if (loop) {
      args.push("-stream_loop", "-1");
    }
    if (fromS) {
      args.push("-ss", String(fromS));
    }
    // ffmpeg's muxer waits up to 10 s for a track that has gone silent; encoders do not. Its FLV
    // muxer insists on the order.
    const now = ["-max_interleave_delta", "1", "-muxdelay", "0"];
    const target = rtmpUrl
      ? ["-f", "flv", rtmpTarget(rtmpUrl, key)]
      : [...now, "-f", "mpegts", srtTarget(srtUrl, key)];
    args.push("-i", file, "-map", "0", "-c", "copy", ...target);
    this.#process = start("ffmpeg", args);
    this.exited = this.#process.exited.then((exit) => {
      this.ended = exit;
      return exit;
    });
  }

  get running() {
    return this.ended === null;
  }

  /** Its last lines, without the key. */
  log() {
    return this.#process.tail().replaceAll(this.#key, "***");
  }

  /** Leaves as OBS does at "Stop Streaming". */
  async leave() {
    if (this.running) {
      this.#process.child.kill("SIGINT");
      await Promise.race([this.exited, sleep(3_000)]);
      await this.vanish();
    }
  }

  /** Is gone without a word, like a pulled cable. */
  async vanish() {
    if (this.running) {
      this.#process.child.kill("SIGKILL");
      await this.exited;
    }
  }
}

/**
 * An encoder that comes back by itself when it is disconnected, to the next address of `srtUrls`
 * in turn, as OBS with a list of servers would.
 */
export class PersistentPublisher {
  #stopped = false;
  #loop;
  current = null;
  /** How often it has connected anew. */
  returns = -1;

  constructor({ srtUrls, ...rest }) {
    this.#loop = (async () => {
      for (let turn = 0; !this.#stopped; turn += 1) {
        this.returns += 1;
        this.current = new Publisher({ ...rest, srtUrl: srtUrls[turn % srtUrls.length] });
        await this.current.exited;
        await sleep(this.#stopped ? 0 : 300);
      }
    })();
  }

  async leave() {
    this.#stopped = true;
    await this.current.leave();
    await this.#loop;
  }
}
