/**
 * The live path's benchmarks, on a running stack. Called by bench/run, which starts one.
 *
 * Usage: bench/run live [cpu] [startup] [memory] [options]; all three without a name.
 */

import path from "node:path";
import { parseArgs } from "node:util";
import { Api } from "../../e2e/lib/api.mjs";
import { Stack } from "../../e2e/lib/stack.mjs";
import { record, repository } from "../results.mjs";
import { calm } from "./calm.mjs";
import { clip } from "./clip.mjs";
import { cpu } from "./cpu.mjs";
import { memory } from "./memory.mjs";
import { startup } from "./startup.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    source: { type: "string", default: "1080p" },
    seconds: { type: "string", default: "60" },
    pairs: { type: "string", default: "5" },
    repetitions: { type: "string", default: "9" },
    patience: { type: "string", default: "300" },
    settle: { type: "string", default: "30" },
    "dry-run": { type: "boolean", default: false },
  },
});

const MEASUREMENTS = {
  startup: (shared) => startup({ ...shared, repetitions: Number(options.repetitions) }),
  memory: (shared) => memory({ ...shared, settleS: Number(options.settle) }),
  cpu: (shared) =>
    cpu({
      ...shared,
      pairs: Number(options.pairs),
      scratch: path.join(repository, ".local/bench-scratch"),
    }),
};

const say = (text) => process.stdout.write(`   ${text}\n`);
const names = positionals.length ? positionals : Object.keys(MEASUREMENTS);
const stack = await Stack.open();
const shared = {
  stack,
  api: new Api(stack),
  source: await clip(options.source, Number(options.seconds)),
  say,
  calm: () => calm(Number(options.patience), say),
};
for (const name of names) {
  const measure = MEASUREMENTS[name];
  if (!measure) {
    throw new Error(`no measurement ${name}; there are: ${Object.keys(MEASUREMENTS).join(", ")}`);
  }
  const text = await measure(shared);
  if (options["dry-run"]) {
    say(`\n${text}\n`);
    continue;
  }
  const flags = process.argv.slice(2).filter((arg) => !positionals.includes(arg));
  await record({
    name: `live ${name}`,
    command: ["bench/run live", name, ...flags].join(" "),
    text,
  });
}
