/**
 * How long a publisher waits for its viewers: from its first media packet, which begins with a
 * keyframe, until nginx answers the master and the first segment of each of its rungs.
 */

import path from "node:path";
import { sleep } from "../../e2e/lib/wait.mjs";
import { publish } from "./publisher.mjs";
import { relay } from "./relay.mjs";
import { fixed, median, spread, table } from "./text.mjs";

const POLL_MS = 20;
const PATIENCE_MS = 30_000;

/** Runs the repetitions, each with a new user and key, and returns the section of the results. */
export async function startup({ stack, api, source, repetitions, calm, say }) {
  const runs = [];
  for (let repetition = 1; repetition <= repetitions; repetition += 1) {
    await calm();
    const run = await once({ stack, api, source });
    runs.push(run);
    say(
      `start ${repetition}: master after ${fixed(run.master)} s, ` +
        `all ${run.rungs} rungs playable after ${fixed(run.playable)} s`,
    );
  }
  return report(runs, source);
}

async function once({ stack, api, source }) {
  const broadcaster = await api.broadcaster("bench");
  const way = await relay(stack.srtUrl);
  const publisher = publish({ srtUrl: way.url, key: broadcaster.key, file: source.file });
  try {
    const began = await Promise.race([
      way.firstMedia,
      publisher.exited.then(({ log }) => {
        throw new Error(`the publisher ended: ${log}`);
      }),
    ]);
    const since = () => (performance.now() - began) / 1000;
    const text = await appears(broadcaster, "master.m3u8");
    const master = since();
    const playlists = text.split("\n").filter((line) => line.endsWith("/playlist.m3u8"));
    await Promise.all(playlists.map((uri) => firstSegment(broadcaster, uri)));
    return { master, playable: since(), rungs: playlists.length };
  } finally {
    await publisher.stop();
    way.close();
    await broadcaster.stop();
    await broadcaster.becomes("active");
  }
}

/** Asks for a file until it is there. */
async function appears(broadcaster, file) {
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline) {
    const response = await broadcaster.fetch(file);
    if (response) {
      return response.text();
    }
    await sleep(POLL_MS);
  }
  throw new Error(`${file} was not there after ${PATIENCE_MS / 1000} s`);
}

async function firstSegment(broadcaster, uri) {
  const playlist = await appears(broadcaster, uri);
  const segment = playlist.split("\n").find((line) => line.endsWith(".ts"));
  const response = await broadcaster.fetch(path.posix.join(path.posix.dirname(uri), segment));
  if (!(await response.arrayBuffer()).byteLength) {
    throw new Error(`${segment} is empty`);
  }
}

function report(runs, source) {
  const [master, playable] = [runs.map((run) => run.master), runs.map((run) => run.playable)];
  const line = (name, values) => [name, fixed(median(values)), spread(values)];
  return [
    `${source.text}; ${runs.length} starts, each of a new user with a new key, ${runs[0].rungs} rungs. ` +
      "Counted from the publisher's first SRT data packet, which begins with a keyframe; asked for every " +
      `${POLL_MS} ms. 2.00 s of it is the first segment itself, 0.12 s the SRT latency.`,
    "",
    table(
      ["seconds", "median", "min – max"],
      [
        line("master answered by nginx", master),
        line("and the first segment of every rung (goal: at most 3)", playable),
      ],
    ),
    "",
    `One by one: ${playable.map((value) => fixed(value)).join(", ")}.`,
  ].join("\n");
}
