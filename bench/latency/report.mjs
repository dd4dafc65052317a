/** The section of bench/RESULTS.md. */

import { fixed, median, spread, table } from "../live/text.mjs";
import { quantile } from "./quantile.mjs";

/** Seconds at the 95th percentile, and to the first frame. */
const GOALS = { passedThrough: 1.2, encoded: 1.5, firstFrame: 0.7 };

export function report(joins, { srtLatencyMs, seconds }) {
  const [{ source }] = joins;
  const rungs = [...new Set(joins.map(({ rung }) => rung))];
  const latency = rungs.map((rung) => {
    const group = joins.filter((join) => join.rung === rung);
    const all = group.flatMap(({ samples }) => samples.map(({ latencyMs }) => latencyMs / 1000));
    const name = `${nameOf(source)}, ${rung.name}, ${rung.encoded ? "encoded" : "passed through"}`;
    return [
      source === "plain" ? name : `${name} (goal: p95 at most ${goalOf(rung)})`,
      fixed(quantile(all, 0.5)),
      fixed(quantile(all, 0.95)),
      fixed(quantile(all, 1)),
      `${all.length}`,
      `${group.reduce((sum, { waits }) => sum + waits, 0)}`,
    ];
  });
  const open = joins.map(({ first }) => first.sinceOpen / 1000);
  const player = joins.map(({ first }) => first.sincePlayer / 1000);
  const goal = source === "plain" ? "" : ` (goal: ${GOALS.firstFrame})`;
  const first = [
    [`from the opening of the page${goal}`, fixed(median(open)), spread(open)],
    ["from when the player was in the page", fixed(median(player)), spread(player)],
  ];
  const off = joins.flatMap(({ samples }) =>
    samples
      .filter(({ shown }) => shown !== null)
      .map(({ shown, latencyMs }) => shown - latencyMs / 1000),
  );
  return [
    `720p30 source with the clock painted in, 3 Mbit/s, 2 s GOP, AAC, SRT latency ${srtLatencyMs} ms; encoder, ladder, ` +
      "servers and browser (which decodes in software) on the same cores. " +
      `${joins.length} joins at random phases, each in a fresh browser context on the product's page, each watched for ` +
      `${seconds} s from 10 s after its opening; all frames of a row pooled. A frame counts from when the source painted it ` +
      "until the page has read it.",
    "",
    table(["seconds from glass to player", "p50", "p95", "max", "frames", "stalls"], latency),
    "",
    table(["seconds to the first frame", "median", "min – max"], first),
    "",
    `The player's own read-out was off by ${fixed(median(off))} s (median; ${fixed(quantile(off, 0.05))} – ` +
      `${fixed(quantile(off, 0.95))}).`,
  ].join("\n");
}

const nameOf = (source) => (source === "plain" ? "plain playlists" : "LL-HLS");
const goalOf = ({ encoded }) => (encoded ? GOALS.encoded : GOALS.passedThrough);
