/** The servers of a stack that the launcher started: processes of this machine. */

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { readTopic } from "./kafka.mjs";
import { repository, stackFile } from "./paths.mjs";
import { run } from "./process.mjs";
import { redisCli } from "./redis.mjs";
import { S3 } from "./s3.mjs";

const launcher = process.env.MARQUEE_STACK_BIN ?? path.join(repository, "target/debug/stack");
const dir = process.env.MARQUEE_STACK_DIR_ARG ?? path.dirname(stackFile);

const command = (...args) =>
  run(launcher, [...args, "--dir", dir], { cwd: repository, timeoutMs: 120_000 });

export class LocalServers {
  #facts;

  constructor(facts) {
    this.#facts = facts;
  }

  get objectStore() {
    return "radosgw" in this.#facts.pids ? "radosgw" : "minio";
  }

  /** Where the stack reaches a server of the tests. */
  async testsAddress() {
    return "127.0.0.1";
  }

  async runs(name) {
    return this.#facts.pids[name] !== undefined;
  }

  stop(name) {
    return command("stop", name);
  }

  start(name) {
    return command("start", name);
  }

  kill(name) {
    return command("kill", name);
  }

  pause(name) {
    return command("pause", name);
  }

  resume(name) {
    return command("resume", name);
  }

  add(service) {
    return command("add", service);
  }

  logOf(name) {
    return readFile(path.join(dir, "log", `${name}.log`), "utf8");
  }

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

  async childrenOf(service, name) {
    const parent = this.#facts.pids[service];
    const pids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry));
    const found = [];
    for (const pid of pids) {
      const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
      const [, itsName, ppid] = /^\d+ \((.*)\) \S (\d+)/.exec(stat) ?? [];
      if (Number(ppid) === parent && itsName === name) {
        found.push(Number(pid));
      }
    }
    return found;
  }

  async killChild(_service, pid) {
    process.kill(pid, "SIGKILL");
  }

  redis(...words) {
    return redisCli(this.#facts.redis_url, ...words);
  }

  topic(name) {
    return readTopic(this.#facts.kafka, name);
  }

  objects(bucket, prefix) {
    return new S3(this.#facts.s3).list(bucket, prefix);
  }
}
