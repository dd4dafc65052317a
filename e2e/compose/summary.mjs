/** Prints what a run of scripts/e2e-compose measured, as docs/OPERATIONS.md shows it. */

import { readFile } from "node:fs/promises";
import path from "node:path";
import { docker } from "../lib/docker.mjs";
import { repository } from "../lib/paths.mjs";
import { project, runFile } from "./project.mjs";

const MARK = "summary: ";

const lines = async (name) =>
  (await readFile(runFile(name), "utf8").catch(() => "")).split("\n").filter(Boolean);

function table(head, rows) {
  for (const cells of [head, head.map(() => "---"), ...rows]) {
    console.log(`| ${cells.join(" | ")} |`);
  }
  console.log();
}

const facts = new Map((await lines("facts.tsv")).map((line) => line.split("\t")));
const parts = [await lines("results-local.jsonl"), await lines("results-compose.jsonl")];
const results = parts.flat().map((line) => JSON.parse(line));
const ended = results.filter(({ name }) => name);
const tests = ended.filter(({ suite }) => !suite);

const words = {
  engine: "on",
  build: "`docker compose build`",
  up: "`docker compose up --wait`, the first time",
  tests: "the tests",
};
table(
  ["what", "figure"],
  Object.entries(words)
    .filter(([name]) => facts.has(name))
    .map(([name, what]) => [what, facts.get(name)]),
);

const images = new Set();
for (const { image, build } of Object.values((await project().config()).services)) {
  if (build) {
    images.add(image);
  }
}
const sizes = [];
for (const image of images) {
  const size = await docker("image", "inspect", "--format", "{{.Size}}", image).catch(() => null);
  sizes.push([`\`${image}\``, size ? `${Math.round(Number(size) / 1e6)} MB` : "not built"]);
}
table(["image", "size"], sizes.sort());

const count = (all, matches) => all.filter(matches).length;
const row = (name, all) => [
  name,
  count(all, ({ suite, passed, skipped }) => !suite && passed && !skipped),
  count(all, ({ suite, passed }) => !suite && !passed),
  count(all, ({ suite, skipped }) => !suite && skipped),
  Math.round(
    all.filter(({ nesting }) => nesting === 0).reduce((sum, { ms }) => sum + ms, 0) / 1000,
  ),
];
const files = [...new Set(ended.map(({ file }) => file))];
table(
  ["file", "passed", "failed", "skipped", "seconds"],
  [
    ...files.map((file) =>
      row(
        `\`${path.relative(path.join(repository, "e2e"), file)}\``,
        ended.filter((test) => test.file === file),
      ),
    ),
    row("all", ended),
  ],
);

const measured = results
  .map(({ diagnostic }) => diagnostic)
  .filter((text) => text?.startsWith(MARK))
  .map((text) => text.slice(MARK.length));
for (const text of measured) {
  console.log(`- ${text}`);
}

const skipped = tests.filter((test) => test.skipped);
console.log(`\nNot run here: ${skipped.length === 0 ? "none." : ""}`);
for (const { name, skipped: reason } of skipped) {
  console.log(`- ${name}: ${reason}`);
}
