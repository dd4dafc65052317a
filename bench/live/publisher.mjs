/** A broadcaster's encoder: ffmpeg that sends a clip by SRT in real time, as README.md shows. */

import { start } from "../../e2e/lib/process.mjs";
import { sleep } from "../../e2e/lib/wait.mjs";

const QUICK_END_MS = 5_000;

/** Starts one; `.exited` is its end, `.stop()` leaves before the clip is over. */
export function publish({ srtUrl, key, file, loop = false }) {
  const target = `${srtUrl}?streamid=publish:${key}&pkt_size=1316&latency=120000`;
  const { child, exited, tail } = start("ffmpeg", [
    ...["-hide_banner", "-nostdin", "-v", "error", "-re"],
    ...(loop ? ["-stream_loop", "-1"] : []),
    ...["-i", file, "-c", "copy", "-f", "mpegts", target],
  ]);
  return {
    pid: child.pid,
    exited: exited.then((exit) => ({ ...exit, log: tail().replaceAll(key, "***") })),
    async stop() {
      child.kill("SIGINT");
      await Promise.race([exited, sleep(QUICK_END_MS)]);
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** Waits until a clip was sent to its end. */
export async function sentWhole(publisher) {
  const { code, signal, log } = await publisher.exited;
  if (code !== 0) {
    throw new Error(`the publisher ended with ${signal ?? code}: ${log}`);
  }
}
