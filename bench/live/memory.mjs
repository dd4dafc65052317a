/** What a stream costs in memory: a fresh transcoder with 0, 1 and 2 streams. */

import { sleep } from "../../e2e/lib/wait.mjs";
import { encodersOf, memoryOf } from "./processes.mjs";
import { publish } from "./publisher.mjs";
import { fixed, median, table } from "./text.mjs";

const STREAMS = [0, 1, 2];
const SAMPLES = 5;
const SAMPLE_MS = 1_000;

/** Measures, and returns the section of the results. */
export async function memory({ stack, api, source, settleS, calm, say }) {
  // What earlier streams left in its heap is not what the first one costs.
  await stack.stop("transcoder");
  await stack.start("transcoder");
  await stack.ready("transcoder");
  const pid = stack.facts.pids.transcoder;
  await calm();
  const live = [];
  const rows = [];
  try {
    for (const streams of STREAMS) {
      while (live.length < streams) {
        live.push(await goLive(stack, api, source));
      }
      await sleep(settleS * 1000);
      const row = await sampled(stack, pid, streams);
      rows.push(row);
      say(
        `${streams} streams: transcoder ${fixed(row.transcoder.pss, 1)} MiB, ` +
          `ffmpeg ${row.ffmpeg.map(({ pss }) => fixed(pss, 1)).join(" + ") || "–"} MiB (PSS), ` +
          `encode speed ${fixed(row.speed)}`,
      );
    }
  } finally {
    for (const { publisher, broadcaster } of live) {
      await publisher.stop();
      await broadcaster.stop();
    }
  }
  return report(rows, source, settleS);
}

async function goLive(stack, api, source) {
  const broadcaster = await api.broadcaster("bench");
  const { key } = broadcaster;
  const publisher = publish({ srtUrl: stack.srtUrl, key, file: source.file, loop: true });
  await broadcaster.becomes("live", 60_000);
  return { publisher, broadcaster };
}

/** The middle of some samples, since what is in flight comes and goes. */
async function sampled(stack, pid, streams) {
  const [transcoder, ffmpeg] = [[], []];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    await sleep(SAMPLE_MS);
    const encoders = await encodersOf(pid);
    if (encoders.length !== streams) {
      throw new Error(`${encoders.length} ffmpeg processes run for ${streams} streams`);
    }
    transcoder.push(await memoryOf(pid));
    ffmpeg.push(await Promise.all(encoders.map((encoder) => memoryOf(encoder.pid))));
  }
  const middle = (samples) => ({
    rss: median(samples.map(({ rss }) => rss)),
    pss: median(samples.map(({ pss }) => pss)),
  });
  return {
    streams,
    transcoder: middle(transcoder),
    ffmpeg: Array.from({ length: streams }, (_, n) => middle(ffmpeg.map((sample) => sample[n]))),
    speed: await stack.metric("transcoder", "transcoder_encode_speed"),
  };
}

function report(rows, source, settleS) {
  const both = ({ rss, pss }) => `${fixed(pss, 1)} (${fixed(rss, 1)})`;
  const sum = (list) => list.reduce((a, b) => ({ rss: a.rss + b.rss, pss: a.pss + b.pss }));
  const minus = (a, b) => ({ rss: a.rss - b.rss, pss: a.pss - b.pss });
  const whole = ({ transcoder, ffmpeg }) => sum([transcoder, ...ffmpeg]);
  const cells = rows.map((row, index) => {
    const previous = rows[index - 1];
    return [
      `${row.streams}`,
      both(row.transcoder),
      row.ffmpeg.map(both).join(" + ") || "–",
      both(whole(row)),
      previous ? both(minus(row.transcoder, previous.transcoder)) : "–",
      previous ? both(minus(whole(row), whole(previous))) : "–",
      row.streams ? fixed(row.speed) : "–",
    ];
  });
  return [
    `${source.text}, each stream looked at ${settleS} s after it went live, by a transcoder just started. ` +
      "MiB, PSS and in brackets RSS, medians of " +
      `${SAMPLES} samples.`,
    "",
    table(
      [
        "streams",
        "transcoder",
        "ffmpeg",
        "together",
        "one more stream: transcoder",
        "together",
        "encode speed",
      ],
      cells,
    ),
    "",
    "An encode speed below 1 means that the machine was too slow for so many streams; waiting input is then part of the figure.",
  ].join("\n");
}
