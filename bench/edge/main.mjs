/**
 * How many low-latency viewers of the 360p rung one core holds, at the edge itself: prerecorded parts,
 * no ladder. Edge and viewers have a core each. Called by bench/run.
 *
 * Usage: bench/run edge [options]
 */

import { mkdir } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { run, start } from "../../e2e/lib/process.mjs";
import { sleep } from "../../e2e/lib/wait.mjs";
import { calm } from "../live/calm.mjs";
import { cpuOf } from "../live/processes.mjs";
import { record, repository } from "../results.mjs";

const GOAL = { viewers: 2000, lateMs: 100 };

const { values: options } = parseArgs({
  options: {
    viewers: { type: "string", default: "500,1000,1500,2000,2500,3000,3500,4000" },
    seconds: { type: "string", default: "10" },
    patience: { type: "string", default: "60" },
    "dry-run": { type: "boolean", default: false },
  },
});

const say = (text) => process.stdout.write(`   ${text}\n`);
const bin = path.join(repository, ".local/bench-bin");

/** The 360p rung as the ladder makes it, 20 s. */
async function clip() {
  const file = path.join(repository, ".local/bench-edge/360p.ts");
  await mkdir(path.dirname(file), { recursive: true });
  const source = "-f lavfi -i testsrc2=size=640x360:rate=30 -f lavfi -i sine=frequency=440 -t 20";
  const video =
    "-c:v libx264 -preset superfast -tune zerolatency -sc_threshold 0 -g 60 -b:v 800k -maxrate 856k -bufsize 1200k -pix_fmt yuv420p";
  const audio = "-c:a aac -b:a 128k -ar 48000 -ac 2 -pes_payload_size 0 -max_interleave_delta 1";
  const command = `-v error -y ${source} ${video} ${audio} -f mpegts ${file}`;
  await run("ffmpeg", command.split(" "), { timeoutMs: 120_000 });
  return file;
}

/** An edge on the first core; how it is reached, and its end. */
async function edge(file, ...args) {
  const { child } = start(
    "taskset",
    ["-c", "0", path.join(bin, "prerecorded_edge"), file, ...args],
    {
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  const url = await new Promise((resolve, reject) => {
    const lines = createInterface({ input: child.stderr });
    lines.on("line", (line) => line.startsWith("http") && resolve(line.trim()));
    child.once("exit", (code) => reject(new Error(`the edge ended with ${code}`)));
  });
  return { url, pid: child.pid, end: () => child.kill("SIGKILL") };
}

/** Viewers on the second core. */
async function watch({ url, pid }, viewers) {
  const seconds = Number(options.seconds);
  const before = await cpuOf(pid);
  const began = performance.now();
  const report = await run(
    "taskset",
    ["-c", "1", path.join(bin, "loadgen"), "viewers", url, "--viewers", String(viewers)].concat([
      ...["--seconds", String(seconds), "--warm-up-s", "6"],
    ]),
    { timeoutMs: 300_000 },
  );
  const after = await cpuOf(pid);
  const cores = (after.own - before.own) / ((performance.now() - began) / 1000);
  return { viewers, cores, ...JSON.parse(report) };
}

const ms = (us) => (us / 1000).toFixed(1);

async function measure(file, counts, ...args) {
  const server = await edge(file, ...args);
  try {
    // A playlist long enough for delta updates.
    await sleep(20_000);
    const rows = [];
    for (const viewers of counts) {
      const row = await watch(server, viewers);
      const late = `${ms(row.reload_p50_us)} / ${ms(row.reload_p99_us)} / ${ms(row.reload_max_us)}`;
      say(
        `${viewers} viewers: late ${late} ms, ${row.cores.toFixed(2)} cores, ${row.failures} failures`,
      );
      rows.push(row);
      if (row.reload_p99_us > 3 * GOAL.lateMs * 1000) {
        break;
      }
    }
    return rows;
  } finally {
    server.end();
  }
}

const held = (rows) =>
  rows
    .filter((row) => row.failures === 0 && row.reload_p99_us <= GOAL.lateMs * 1000)
    .reduce((most, row) => Math.max(most, row.viewers), 0);

const counts = options.viewers.split(",").map(Number);
const file = await clip();
await calm(Number(options.patience), say);
const rows = await measure(file, counts);
say("the same through all layers of the server");
const layered = await measure(file, counts, "--without-express");
const table = rows.map((row) =>
  [
    `| ${row.viewers}`,
    row.reloads_per_s.toFixed(0),
    ms(row.reload_p50_us),
    ms(row.reload_p99_us),
    ms(row.reload_max_us),
    ms(row.part_p99_us),
    row.megabytes_per_s.toFixed(0),
    row.cores.toFixed(2),
    `${row.failures} |`,
  ].join(" | "),
);
const text = [
  "360p30, 800 + 128 kbit/s, parts of 200 ms, a half-hour window that fills; every viewer holds a reload with a delta update",
  "and gzip, then fetches the part, on a connection of its own. The edge has one core, the viewers the other. Late: from the",
  "end of the part by its date to the last byte of the reload's answer.",
  "",
  "| viewers | reloads/s | late, ms: median | p99 | latest | a part after that, ms: p99 | MB/s | cores of the edge | failures |",
  "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
  ...table,
  "",
  `Held with p99 at most ${GOAL.lateMs} ms late: **${held(rows)}** (goal: at least ${GOAL.viewers}); through all layers of the server, with a log line a request: ${held(layered)}.`,
].join("\n");
if (options["dry-run"]) {
  say(`\n${text}\n`);
} else {
  await record({
    name: "edge",
    command: ["bench/run edge", ...process.argv.slice(2)].join(" "),
    text,
  });
}
