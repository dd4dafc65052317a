/** The stack under test: where it is, and its servers stopped, killed, paused and started again. */

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { repository, stackFile } from "./paths.mjs";
import { run } from "./process.mjs";
import { until } from "./wait.mjs";

const launcher = process.env.MARQUEE_STACK_BIN ?? path.join(repository, "target/debug/stack");
const dir = process.env.MARQUEE_STACK_DIR_ARG ?? path.dirname(stackFile);

export class Stack {
  /** `stack.json` as it stands now; services get new addresses when they are added. */
  static async open() {
    const text = await readFile(stackFile, "utf8").catch(() => {
      throw new Error(`no stack runs (${stackFile} is not there): start it with make e2e`);
    });
    return new Stack(JSON.parse(text));
  }

  constructor(facts) {
    this.facts = facts;
  }

  get baseUrl() {
    return this.facts.base_url;
  }

  get gatewayUrl() {
    return this.facts.gateway_url;
  }

  get srtUrl() {
    return this.facts.srt_url;
  }

  /** The S3 server's name: MinIO, or what `S3=` chose instead. */
  get objectStore() {
    return "radosgw" in this.facts.pids ? "radosgw" : "minio";
  }

  /** One of the accounts that every stack has: `admin`, `viewer` or `demo`. */
  user(name) {
    const user = this.facts.users.find(({ username }) => username === name);
    assert.ok(user, `stack.json names no user ${name}`);
    return user;
  }

  /** Everything that a service logged. */
  logOf(name) {
    return readFile(path.join(dir, "log", `${name}.log`), "utf8");
  }

  serviceUrl(name) {
    const url = this.facts.services[name];
    assert.ok(url, `stack.json names no service ${name}`);
    return url;
  }

  /** Where publishers reach a transcoder: the first, or one that was added. */
  srtUrlOf(name) {
    return name === "transcoder" ? this.srtUrl : this.facts.srt_urls[name];
  }

  async reload() {
    this.facts = JSON.parse(await readFile(stackFile, "utf8"));
    return this;
  }

  /** The same for RTMP. */
  rtmpUrlOf(name) {
    return this.facts.rtmp_urls[name];
  }

  async #command(...args) {
    await run(launcher, [...args, "--dir", dir], { cwd: repository, timeoutMs: 120_000 });
    await this.reload();
  }

  /** SIGTERM, and waits for the end. */
  stop(name) {
    return this.#command("stop", name);
  }

  start(name) {
    return this.#command("start", name);
  }

  /** SIGKILL. */
  kill(name) {
    return this.#command("kill", name);
  }

  /** SIGSTOP. */
  pause(name) {
    return this.#command("pause", name);
  }

  /** SIGCONT. */
  resume(name) {
    return this.#command("resume", name);
  }

  /** Another instance of a service; returns the name it got. */
  async add(service) {
    const before = new Set(Object.keys(this.facts.services));
    await this.#command("add", service);
    const name = Object.keys(this.facts.services).find((known) => !before.has(known));
    assert.ok(name, `stack.json names the second ${service}`);
    return name;
  }

  /** Waits until a service says that it can serve. */
  ready(name, withinMs = 30_000) {
    return until(`${name} is ready`, withinMs, async () => {
      const response = await fetch(`${this.serviceUrl(name)}/ready`, {
        signal: AbortSignal.timeout(2_000),
      });
      return response.ok;
    });
  }

  /** Sum over all label sets of a counter or gauge of a service; 0 before its first count. */
  async metric(service, name, labels = {}) {
    const response = await fetch(`${this.serviceUrl(service)}/metrics`, {
      signal: AbortSignal.timeout(5_000),
    });
    return sumOf(await response.text(), name, labels);
  }

  /** Processes of that name that a service has started. */
  async childrenOf(service, command) {
    const parent = this.facts.pids[service];
    const pids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry));
    const found = [];
    for (const pid of pids) {
      const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
      const [, name, ppid] = /^\d+ \((.*)\) \S (\d+)/.exec(stat) ?? [];
      if (Number(ppid) === parent && name === command) {
        found.push(Number(pid));
      }
    }
    return found;
  }

  /** Everything the services and servers of the stack have logged, by file name. */
  async logs() {
    const folder = path.join(dir, "log");
    const logs = new Map();
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.isFile()) {
        logs.set(entry.name, await readFile(path.join(folder, entry.name), "utf8"));
      }
    }
    assert.ok(logs.size > 0, `logs are in ${folder}`);
    return logs;
  }
}

/** Sums a metric in the Prometheus text format. */
export function sumOf(text, name, labels = {}) {
  let sum = 0;
  for (const line of text.split("\n")) {
    const [, found, set = "", value] = /^([\w:]+)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
    if (
      found === name &&
      Object.entries(labels).every(([label, wanted]) => set.includes(`${label}="${wanted}"`))
    ) {
      sum += Number(value);
    }
  }
  return sum;
}
