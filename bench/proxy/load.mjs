/** Load from the other core: wrk for throughput, loadgen where latency counts. */

import path from "node:path";
import { run } from "../../e2e/lib/process.mjs";
import { repository } from "../results.mjs";
import { LOAD_CORE } from "./servers.mjs";

const loadgen = path.join(repository, ".local/bench-bin/loadgen");

/** Requests a second, as many as are answered. */
export async function throughput({ url, connections, seconds }) {
  const text = await run("taskset", [
    ...["-c", String(LOAD_CORE), "wrk", "-t1", `-c${connections}`, `-d${seconds}s`, url],
  ]);
  if (/Non-2xx|Socket errors/.test(text)) {
    throw new Error(`${url}: ${text}`);
  }
  return {
    requestsPerS: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)[1]),
    requests: Number(/(\d+) requests in/.exec(text)[1]),
  };
}

/** Latencies at a rate, from when each request was due. */
export async function latency({ url, connections, seconds, rate }) {
  const text = await run("taskset", [
    ...["-c", String(LOAD_CORE), loadgen, "http", url],
    ...["--connections", connections, "--seconds", seconds, "--rate", rate].map(String),
  ]);
  const report = JSON.parse(text);
  if (report.statuses[200] !== report.requests) {
    throw new Error(`${url} answered ${JSON.stringify(report.statuses)}`);
  }
  return report;
}
