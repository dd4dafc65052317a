/** The two proxies side by side, with one Redis and one upstream, each process on its core. */

import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { run, start } from "../../e2e/lib/process.mjs";
import { until } from "../../e2e/lib/wait.mjs";
import { cpuOf, memoryOf } from "../live/processes.mjs";
import { repository } from "../results.mjs";

/** Proxies and their Redis, and what makes the load and answers it. */
export const PROXY_CORE = 0;
export const LOAD_CORE = 1;

const here = path.join(repository, "bench/proxy");
const dir = path.join(repository, ".local/bench/proxy");
const binary = path.join(repository, ".local/bench-bin/proxy");

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const pinned = (core, command, args, options) =>
  start("taskset", ["-c", String(core), command, ...args], options);

/** nginx with one of the configurations here, filled in. */
async function nginx(core, name, facts) {
  const template = await readFile(path.join(here, `${name}.conf`), "utf8");
  const text = template.replace(/\{(\w+)\}/g, (whole, key) => facts[key] ?? whole);
  const file = path.join(dir, `${name}.conf`);
  await writeFile(file, text);
  return pinned(core, "nginx", ["-e", path.join(dir, `${name}.err`), "-p", dir, "-c", file]);
}

/** Starts everything; `.proxies` are the two, by name. */
export async function startServers() {
  await mkdir(dir, { recursive: true });
  await writeFile(path.join(dir, "segment"), randomBytes(1 << 20));
  const [redis_port, upstream_port, openresty_port, port] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const redis = pinned(PROXY_CORE, "redis-server", [
    ...["--port", redis_port, "--bind", "127.0.0.1", "--save", "", "--dir", dir].map(String),
  ]);
  const upstream = await nginx(LOAD_CORE, "upstream", { dir, port: upstream_port });
  const openresty = await nginx(PROXY_CORE, "openresty", { dir, port: openresty_port, redis_port });
  // On disk beside the peer's.
  const log = await open(path.join(dir, "marquee.log"), "w");
  const ours = pinned(PROXY_CORE, binary, [], {
    stdio: ["ignore", log.fd, "ignore"],
    env: {
      ...process.env,
      PORT: String(port),
      BIND_ADDR: "127.0.0.1",
      REDIS_HOST: "127.0.0.1",
      REDIS_PORT: String(redis_port),
      WORKERS: "1",
      ACCESS_LOG_FORMAT: "combined",
      RUST_LOG: "warn",
    },
  });
  await log.close();
  const processes = [redis, upstream, openresty, ours];
  const redisCli = (...args) => run("redis-cli", ["-p", String(redis_port), ...args]);
  await until("Redis answers", 10_000, () => redisCli("PING").catch(() => false));
  await redisCli("SET", "streams:live001", `127.0.0.1:${upstream_port}`);
  const proxies = {
    marquee: {
      url: `http://127.0.0.1:${port}`,
      port,
      pid: ours.child.pid,
      redisPid: redis.child.pid,
    },
    "nginx + Lua + Redis": {
      url: `http://127.0.0.1:${openresty_port}`,
      port: openresty_port,
      pid: null,
      redisPid: redis.child.pid,
    },
  };
  for (const [name, proxy] of Object.entries(proxies)) {
    await until(`${name} answers`, 10_000, async () => {
      const answer = await fetch(`${proxy.url}/stream/live001/small`).catch(() => null);
      return answer?.ok;
    });
  }
  proxies["nginx + Lua + Redis"].pid = await workerOf(openresty.child.pid);
  return {
    proxies,
    async stop() {
      for (const { child } of processes) {
        child.kill("SIGTERM");
      }
      await Promise.all(processes.map(({ exited }) => exited));
    },
  };
}

/** nginx' master passes nothing on. */
async function workerOf(master) {
  const children = await readFile(`/proc/${master}/task/${master}/children`, "utf8");
  return Number(children.trim().split(" ")[0]);
}

/** CPU seconds and memory of a proxy by now, and the CPU seconds of the Redis that both ask. */
export async function costOf({ pid, redisPid }) {
  const [{ own }, redis, { rss }] = [await cpuOf(pid), await cpuOf(redisPid), await memoryOf(pid)];
  return { cpuS: own, redisCpuS: redis.own, rssMib: rss };
}
