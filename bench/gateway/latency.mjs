/** What the gateway adds to a call at half the load that it can take. */

import { execFileSync } from "node:child_process";
import { cpuOf } from "../live/processes.mjs";
import { fixed, median, spread, table } from "../live/text.mjs";
import { requests } from "./load.mjs";
import { throughNginx } from "./nginx.mjs";

const PATH = "/api/streams/public";
const CONNECTIONS = 32;
const PERCENTILES = { p50: "p50_us", p90: "p90_us", p99: "p99_us", "p99.9": "p999_us" };

/**
 * Direct and through the gateway in turn at one rate, with the gateway on a core of its own and then
 * with all on all cores; the section of the results.
 */
export async function latency(bench) {
  const last = String(bench.cores - 1);
  const apart = await onCoresOfTheirOwn(bench, () => compared(bench, { cores: last, workers: 1 }));
  const all = { cores: `0-${last}`, workers: bench.cores };
  const together = await compared(bench, all);
  return [
    `\`GET ${PATH}\` (${bench.streams} streams) on ${CONNECTIONS} connections by a timetable: latency counts from when a ` +
      `request was due (docs/adr/0016). ${bench.rounds} rounds of ${bench.seconds} s, direct to the stream service and through ` +
      "the gateway and through an nginx in its place in turn, at half the rate that goes through the gateway at most. No rate " +
      "limits. nginx passes on and logs, no more: it shows what any hop costs on this machine.",
    "",
    `The gateway on one core, the load generator and the service on the other${bench.cores > 2 ? "s" : ""}: ${summary(apart)}`,
    "",
    percentiles(apart),
    "",
    `All of them on all ${bench.cores} cores: ${summary(together)}`,
    "",
    percentiles(together),
    "",
    "Medians of the rounds. Goal: at most 1 ms added to the p99.",
  ].join("\n");
}

/** Runs `work` while the gateway has the last core to itself, and what else is measured the others. */
async function onCoresOfTheirOwn({ stack, cores }, work) {
  const all = `0-${cores - 1}`;
  const others = `0-${cores - 2}`;
  // What a process starts inherits its cores, and a service makes as many threads as it finds cores.
  const placed = async (list) => {
    pin(process.pid, list);
    await stack.stop("gateway");
    await stack.start("gateway");
    await stack.ready("gateway");
  };
  await placed(String(cores - 1));
  pin(process.pid, others);
  for (const [name, pid] of Object.entries(stack.facts.pids)) {
    if (name !== "gateway") {
      pin(pid, others);
    }
  }
  try {
    return await work();
  } finally {
    for (const pid of Object.values(stack.facts.pids)) {
      pin(pid, all);
    }
    await placed(all);
  }
}

const pin = (pid, list) => execFileSync("taskset", ["--all-tasks", "-cp", list, String(pid)]);

async function compared({ stack, direct, gateway, seconds, rounds, say }, hop) {
  const pid = stack.facts.pids.gateway;
  const most = await requests({ url: gateway + PATH, connections: CONNECTIONS, seconds });
  const rate = Math.round(most.requests_per_s / 2);
  say(`through the gateway at most ${fixed(most.requests_per_s, 0)} requests/s; half is ${rate}`);
  const call = (url) => requests({ url: url + PATH, connections: CONNECTIONS, seconds, rate });
  const trips = await throughNginx({ upstream: direct("stream"), ...hop }, async (nginx) => {
    const seen = [];
    for (let round = 1; round <= rounds; round += 1) {
      const straight = await call(direct("stream"));
      const before = await cpuOf(pid);
      const through = await call(gateway);
      const after = await cpuOf(pid);
      const nginxBefore = await nginx.cpuS();
      const yardstick = await call(nginx.url);
      const nginxAfter = await nginx.cpuS();
      const cpuUs = ((after.own - before.own) * 1e6) / through.requests;
      const nginxCpuUs = ((nginxAfter - nginxBefore) * 1e6) / yardstick.requests;
      seen.push({ direct: straight, through, nginx: yardstick, cpuUs, nginxCpuUs });
      say(
        `round ${round}: p99 ${ms(straight.p99_us)} ms direct, ${ms(through.p99_us)} ms through the gateway, ` +
          `which took ${fixed(cpuUs, 0)} µs of CPU a request, ${ms(yardstick.p99_us)} ms through nginx (${fixed(nginxCpuUs, 0)} µs)`,
      );
    }
    return seen;
  });
  return { trips, rate, most: most.requests_per_s };
}

const ms = (microseconds) => fixed(microseconds / 1000, 2);

const summary = ({ trips, rate, most }) =>
  `${rate} requests/s, half of ${fixed(most, 0)}; a request costs the gateway ` +
  `${fixed(median(trips.map(({ cpuUs }) => cpuUs)), 0)} µs of CPU, nginx ` +
  `${fixed(median(trips.map(({ nginxCpuUs }) => nginxCpuUs)), 0)} µs.`;

function percentiles({ trips }) {
  const rows = Object.entries(PERCENTILES).map(([name, field]) => {
    const of = (way) => trips.map((trip) => trip[way][field] / 1000);
    const added = (way) => trips.map((trip) => (trip[way][field] - trip.direct[field]) / 1000);
    return [
      name,
      fixed(median(of("direct"))),
      fixed(median(of("through"))),
      fixed(median(added("through"))),
      spread(added("through")),
      fixed(median(added("nginx"))),
      spread(added("nginx")),
    ];
  });
  const heads = ["ms", "direct", "through the gateway", "added", "min – max", "nginx adds", "min – max"];
  return table(heads, rows);
}
