/**
 * The proxy's benchmarks beside nginx + Lua + Redis doing seed 000, one worker each. Called by
 * bench/run.
 *
 * Usage: bench/run proxy [small] [segment] [latency] [idle] [options]; all without a name.
 */

import net from "node:net";
import { parseArgs } from "node:util";
import { sleep } from "../../e2e/lib/wait.mjs";
import { calm } from "../live/calm.mjs";
import { fixed, median, spread, table } from "../live/text.mjs";
import { record } from "../results.mjs";
import { latency, throughput } from "./load.mjs";
import { costOf, startServers } from "./servers.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "6" },
    rounds: { type: "string", default: "5" },
    idle: { type: "string", default: "10000" },
    patience: { type: "string", default: "60" },
    "dry-run": { type: "boolean", default: false },
  },
});
const seconds = Number(options.seconds);
const rounds = Number(options.rounds);
const say = (text) => process.stdout.write(`   ${text}\n`);

const PEER = "nginx + Lua + Redis";
const PINNED =
  "One worker each. The proxy under test and Redis share one core, the load and the upstream (nginx) have the other; " +
  "access logs in the combined format on one disk, kept connections everywhere, the peer's buffers as large as the bodies.";

/** Requests a second of both in turn, and what each costs. */
async function compare({ proxies, path, connections, goal, what }) {
  const seen = Object.fromEntries(Object.keys(proxies).map((name) => [name, []]));
  for (let round = 1; round <= rounds; round += 1) {
    for (const [name, proxy] of Object.entries(proxies)) {
      const before = await costOf(proxy);
      const { requestsPerS, requests } = await throughput({
        url: proxy.url + path,
        connections,
        seconds,
      });
      const after = await costOf(proxy);
      const each = (field) => ((after[field] - before[field]) / requests) * 1e6;
      seen[name].push({
        requestsPerS,
        cpuUs: each("cpuS"),
        redisCpuUs: each("redisCpuS"),
        rssMib: after.rssMib,
      });
      say(`${what}, ${name}, round ${round}: ${fixed(requestsPerS, 0)} requests/s`);
    }
  }
  const of = (name, field) => seen[name].map((round) => round[field]);
  const ratios = of("marquee", "requestsPerS").map(
    (rate, round) => rate / seen[PEER][round].requestsPerS,
  );
  return [
    `${what}, ${connections} connections, ${rounds} rounds of ${seconds} s in turn. ${PINNED}`,
    "",
    table(
      [
        ...["", "requests/s", "min – max", "CPU a request (µs)", "Redis' CPU a request (µs)"],
        "memory without Redis (MiB)",
      ],
      Object.keys(seen).map((name) => [
        name,
        fixed(median(of(name, "requestsPerS")), 0),
        spread(of(name, "requestsPerS"), 0),
        fixed(median(of(name, "cpuUs")), 1),
        fixed(median(of(name, "redisCpuUs")), 1),
        fixed(median(of(name, "rssMib")), 1),
      ]),
    ),
    "",
    `Marquee's requests/s are ${fixed(median(ratios))} times the peer's (round by round ${spread(ratios)}); goal: ${goal} times.`,
  ].join("\n");
}

const MEASUREMENTS = {
  small: ({ proxies }) =>
    compare({
      proxies,
      path: "/stream/live001/small",
      connections: 64,
      goal: "1.5",
      what: "64 bytes",
    }),

  segment: ({ proxies }) =>
    compare({
      proxies,
      path: "/stream/live001/segment",
      connections: 8,
      goal: "1.0",
      what: "1 MiB",
    }),

  async latency({ proxies }) {
    const path = "/stream/live001/small";
    const most = await throughput({ url: proxies[PEER].url + path, connections: 32, seconds });
    const rate = Math.round(most.requestsPerS / 2);
    const seen = Object.fromEntries(Object.keys(proxies).map((name) => [name, []]));
    for (let round = 1; round <= rounds; round += 1) {
      for (const [name, proxy] of Object.entries(proxies)) {
        const report = await latency({ url: proxy.url + path, connections: 32, seconds, rate });
        seen[name].push(report);
        say(`${name}, round ${round}: p99 ${fixed(report.p99_us / 1000)} ms`);
      }
    }
    const ms = (name, field) => seen[name].map((report) => report[field] / 1000);
    return [
      `64 bytes at ${rate} requests/s, half of what the peer takes at most, on 32 connections by a timetable: latency counts from ` +
        `when a request was due (docs/adr/0016). ${rounds} rounds of ${seconds} s in turn. ${PINNED}`,
      "",
      table(
        ["ms", "p50", "p99", "p99 min – max", "p99.9"],
        Object.keys(seen).map((name) => [
          name,
          fixed(median(ms(name, "p50_us"))),
          fixed(median(ms(name, "p99_us"))),
          spread(ms(name, "p99_us")),
          fixed(median(ms(name, "p999_us"))),
        ]),
      ),
      "",
      "Goal: a p99 that is not above the peer's.",
    ].join("\n");
  },

  async idle({ proxies }) {
    const count = Number(options.idle);
    const rows = [];
    for (const [name, proxy] of Object.entries(proxies)) {
      const before = await costOf(proxy);
      const sockets = await idleConnections(proxy.port, count);
      await sleep(2_000);
      const held = await costOf(proxy);
      await sleep(5_000);
      const after = await costOf(proxy);
      const answer = await fetch(`${proxy.url}/stream/live001/small`);
      if (!answer.ok) {
        throw new Error(`${name} answers ${answer.status} with ${count} idle connections`);
      }
      for (const socket of sockets) {
        socket.destroy();
      }
      const kib = ((held.rssMib - before.rssMib) * 1024) / count;
      rows.push([
        name,
        fixed(before.rssMib, 1),
        fixed(held.rssMib, 1),
        fixed(kib, 1),
        fixed((after.cpuS - held.cpuS) / 5, 3),
      ]);
      say(`${name}: ${fixed(held.rssMib, 1)} MiB with ${count} idle connections`);
      await sleep(2_000);
    }
    return [
      `${count} connections that have asked once and then idle; both go on answering. Memory is resident.`,
      "",
      table(["", "before (MiB)", "with them (MiB)", "KiB each", "cores in use"], rows),
    ].join("\n");
  },
};

/** Connections that have had one answer each. */
async function idleConnections(port, count) {
  const sockets = [];
  const request = "GET /stream/live001/small HTTP/1.1\r\nhost: x\r\n\r\n";
  for (let opened = 0; opened < count; opened += 200) {
    const batch = Array.from(
      { length: Math.min(200, count - opened) },
      () =>
        new Promise((resolve, reject) => {
          const socket = net.connect(port, "127.0.0.1", () => socket.write(request));
          socket.once("data", () => resolve(socket));
          socket.once("error", reject);
        }),
    );
    sockets.push(...(await Promise.all(batch)));
  }
  return sockets;
}

const names = positionals.length ? positionals : Object.keys(MEASUREMENTS);
const servers = await startServers();
try {
  for (const name of names) {
    const measure = MEASUREMENTS[name];
    if (!measure) {
      throw new Error(`no measurement ${name}; there are: ${Object.keys(MEASUREMENTS).join(", ")}`);
    }
    await calm(Number(options.patience), say);
    const text = await measure(servers);
    if (options["dry-run"]) {
      say(`\n${text}\n`);
      continue;
    }
    const flags = process.argv.slice(2).filter((arg) => !positionals.includes(arg));
    await record({
      name: `proxy ${name}`,
      command: ["bench/run proxy", name, ...flags].join(" "),
      text,
    });
  }
} finally {
  await servers.stop();
}
