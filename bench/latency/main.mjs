/**
 * From the source's clock to a viewer's screen, on the product's own page in Chromium, on a running
 * stack. Called by bench/run, which starts one.
 *
 * Usage: bench/run latency [low-latency] [plain] [options]; both without a name.
 */

import { parseArgs } from "node:util";
import { Api } from "../../e2e/lib/api.mjs";
import { launchBrowser } from "../../e2e/lib/browser.mjs";
import { PaintedPublisher } from "../../e2e/lib/painted-clock.mjs";
import { Stack } from "../../e2e/lib/stack.mjs";
import { sleep, until } from "../../e2e/lib/wait.mjs";
import { calm } from "../live/calm.mjs";
import { record } from "../results.mjs";
import { join } from "./join.mjs";
import { report } from "./report.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    joins: { type: "string", default: "10" },
    seconds: { type: "string", default: "8" },
    patience: { type: "string", default: "60" },
    "dry-run": { type: "boolean", default: false },
  },
});

const SOURCES = ["low-latency", "plain"];
/** The source's own rung, and one that the ladder encodes. */
const RUNGS = [
  { name: "720p", lines: 720, encoded: false },
  { name: "480p", lines: 480, encoded: true },
];
const SRT_LATENCY_MS = 120;
/** Between joins, so that they fall into every phase of a segment. */
const PHASE_MS = 2_000;
const GO_LIVE_MS = 30_000;
/** A live has its history before the first viewer comes. */
const RUNNING_MS = 15_000;

const say = (text) => process.stdout.write(`   ${text}\n`);
const seconds = Number(options.seconds);
const sources = positionals.length ? positionals : SOURCES;
const unknown = sources.find((name) => !SOURCES.includes(name));
if (unknown) {
  throw new Error(`no source ${unknown}; there are: ${SOURCES.join(", ")}`);
}

const stack = await Stack.open();
const browser = await launchBrowser();
const broadcaster = await new Api(stack).broadcaster("bench", "The clock");
await calm(Number(options.patience), say);
const publisher = new PaintedPublisher({
  srtUrl: stack.srtUrl,
  key: broadcaster.key,
  latencyMs: SRT_LATENCY_MS,
});
try {
  await until("the broadcast can be watched", GO_LIVE_MS, () => broadcaster.playlist());
  await broadcaster.becomes("live", GO_LIVE_MS);
  await sleep(RUNNING_MS);
  for (const source of sources) {
    await publish(source, report(await joinsOf(source), { srtLatencyMs: SRT_LATENCY_MS, seconds }));
  }
} catch (error) {
  say(publisher.log());
  throw error;
} finally {
  await publisher.stop();
  await broadcaster.stop();
  await browser.close();
}

async function joinsOf(source) {
  const url = `${stack.baseUrl}/live/${broadcaster.id}`;
  const joins = [];
  for (let i = 0; i < Number(options.joins); i += 1) {
    for (const rung of RUNGS) {
      await sleep(Math.random() * PHASE_MS);
      joins.push(await join({ browser, url, source, rung, seconds, say }));
    }
  }
  return joins;
}

async function publish(source, text) {
  if (options["dry-run"]) {
    say(`\n${text}\n`);
    return;
  }
  const flags = process.argv.slice(2).filter((arg) => !positionals.includes(arg));
  const command = ["bench/run latency", source, ...flags].join(" ");
  await record({ name: `latency ${source}`, command, text });
}
