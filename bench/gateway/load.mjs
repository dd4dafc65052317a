/** crates/loadgen, which makes the requests and measures them. */

import path from "node:path";
import { run } from "../../e2e/lib/process.mjs";
import { repository } from "../results.mjs";

const binary = path.join(repository, process.env.LOADGEN ?? ".local/bench-bin/loadgen");

async function loadgen(...args) {
  const report = await run(binary, args.map(String), { timeoutMs: 300_000 });
  return JSON.parse(report);
}

/** Requests to one URL; every answer must be a 200, or what was measured is something else. */
export async function requests({ url, connections, seconds, rate, bodies = [] }) {
  const report = await loadgen(
    ...["http", url, "--connections", connections, "--seconds", seconds],
    ...(rate ? ["--rate", rate] : []),
    ...bodies.flatMap((body) => ["--post", JSON.stringify(body)]),
  );
  if (report.statuses[200] !== report.requests) {
    throw new Error(`${url} answered ${JSON.stringify(report.statuses)}`);
  }
  return report;
}

/** Comparisons of passwords a second with bcrypt alone. */
export async function bcrypt({ cost, threads, seconds }) {
  const report = await loadgen(
    ...["bcrypt", "--cost", cost, "--threads", threads, "--seconds", seconds],
  );
  return report.comparisons_per_s;
}
