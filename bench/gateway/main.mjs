/**
 * The gateway's benchmarks, on a running stack without rate limits. Called by bench/run, which starts
 * one.
 *
 * Usage: bench/run gateway [list] [latency] [login] [options]; all three without a name.
 */

import os from "node:os";
import { parseArgs } from "node:util";
import { Api } from "../../e2e/lib/api.mjs";
import { Stack } from "../../e2e/lib/stack.mjs";
import { calm } from "../live/calm.mjs";
import { record } from "../results.mjs";
import { latency } from "./latency.mjs";
import { list } from "./list.mjs";
import { login } from "./login.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "8" },
    rounds: { type: "string", default: "5" },
    streams: { type: "string", default: "50" },
    patience: { type: "string", default: "60" },
    "dry-run": { type: "boolean", default: false },
  },
});

const MEASUREMENTS = { list, latency, login };

const say = (text) => process.stdout.write(`   ${text}\n`);
const names = positionals.length ? positionals : Object.keys(MEASUREMENTS);
const stack = await Stack.open();
const api = new Api(stack);
for (let count = 0; count < Number(options.streams); count += 1) {
  await api.broadcaster("bench", `Stream ${count} of the benchmark`);
}
const shared = {
  api,
  stack,
  streams: Number(options.streams),
  seconds: Number(options.seconds),
  rounds: Number(options.rounds),
  cores: os.cpus().length,
  direct: (service) => stack.serviceUrl(service),
  gateway: stack.gatewayUrl,
  say,
};
for (const name of names) {
  const measure = MEASUREMENTS[name];
  if (!measure) {
    throw new Error(`no measurement ${name}; there are: ${Object.keys(MEASUREMENTS).join(", ")}`);
  }
  await calm(Number(options.patience), say);
  const text = await measure(shared);
  if (options["dry-run"]) {
    say(`\n${text}\n`);
    continue;
  }
  const flags = process.argv.slice(2).filter((arg) => !positionals.includes(arg));
  await record({
    name: `gateway ${name}`,
    command: ["bench/run gateway", name, ...flags].join(" "),
    text,
  });
}
