/** Puts Criterion's figures of crates/hls into the results. Usage: node bench/hls.mjs CRITERION_FOLDER */

import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fixed, table } from "./live/text.mjs";
import { record } from "./results.mjs";

const folder = process.argv[2];
const json = async (file) => JSON.parse(await readFile(file, "utf8"));
const rows = [];
for (const entry of await readdir(folder, { recursive: true })) {
  if (!entry.endsWith(path.join("new", "benchmark.json"))) {
    continue;
  }
  const place = path.join(folder, path.dirname(entry));
  const { full_id: name, throughput } = await json(path.join(place, "benchmark.json"));
  const { median } = await json(path.join(place, "estimates.json"));
  const rate = (nanoseconds) => throughput.Bytes / nanoseconds;
  const { lower_bound: least, upper_bound: most } = median.confidence_interval;
  rows.push([
    name.replace("/", ", "),
    fixed(median.point_estimate / 1e6, 3),
    fixed(rate(median.point_estimate)),
    `${fixed(rate(most))} – ${fixed(rate(least))}`,
  ]);
}
rows.sort(([a], [b]) => a.localeCompare(b));
await record({
  name: "hls",
  command: "bench/run hls",
  text: [
    "The segmenter on one core (`cargo bench -p marquee-hls`), 20 s of transport stream a rung; goal: at least 1 GB/s.",
    "",
    table(["rung", "ms", "GB/s", "95 % of the median"], rows),
  ].join("\n"),
});
