/**
 * The stack under test: where it is, and its servers stopped, killed, paused and started again.
 *
 * It is the launcher's, processes of this machine, or a compose project: `stack.json` says which. What differs
 * between the two is in `local-servers.mjs` and `compose-servers.mjs`; tests know neither.
 */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { ComposeServers } from "./compose-servers.mjs";
import { LocalServers } from "./local-servers.mjs";
import { stackFile } from "./paths.mjs";
import { until } from "./wait.mjs";

export class Stack {
  #servers;

  /** `stack.json` as it stands now; services get new addresses when they are added. */
  static async open() {
    const text = await readFile(stackFile, "utf8").catch(() => {
      throw new Error(`no stack runs (${stackFile} is not there): start it with make e2e`);
    });
    return new Stack(JSON.parse(text));
  }

  constructor(facts) {
    this.#know(facts);
  }

  #know(facts) {
    this.facts = facts;
    this.#servers = facts.kind === "compose" ? new ComposeServers(facts) : new LocalServers(facts);
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
    return this.#servers.objectStore;
  }

  /** The address of this machine at which the stack reaches a server of the tests. */
  testsAddress() {
    return this.#servers.testsAddress();
  }

  /** One of the accounts that every stack has: `admin`, `viewer` or `demo`. */
  user(name) {
    const user = this.facts.users.find(({ username }) => username === name);
    assert.ok(user, `stack.json names no user ${name}`);
    return user;
  }

  /** Everything that a service logged. */
  logOf(name) {
    return this.#servers.logOf(name);
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
    this.#know(JSON.parse(await readFile(stackFile, "utf8")));
    return this;
  }

  /** The same for RTMP. */
  rtmpUrlOf(name) {
    return this.facts.rtmp_urls[name];
  }

  async #act(verb, name) {
    await this.#servers[verb](name);
    await this.reload();
  }

  /** Whether it has been started and neither stopped nor killed. */
  runs(name) {
    return this.#servers.runs(name);
  }

  /** SIGTERM, and waits for the end. */
  stop(name) {
    return this.#act("stop", name);
  }

  start(name) {
    return this.#act("start", name);
  }

  /** SIGKILL. */
  kill(name) {
    return this.#act("kill", name);
  }

  /** Freezes it; once more is not an error. */
  pause(name) {
    return this.#act("pause", name);
  }

  /** The end of `pause`; fine also for what runs. */
  resume(name) {
    return this.#act("resume", name);
  }

  /** Another instance of a service; returns the name it got. */
  async add(service) {
    const before = new Set(Object.keys(this.facts.services));
    await this.#act("add", service);
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

  /** Processes of that name that a service has started, by numbers that `killChild` understands. */
  childrenOf(service, command) {
    return this.#servers.childrenOf(service, command);
  }

  /** SIGKILL for one of them. */
  killChild(service, pid) {
    return this.#servers.killChild(service, pid);
  }

  /** Everything the services and servers of the stack have logged, by file or container name. */
  logs() {
    return this.#servers.logs();
  }

  /** One command of redis-cli; `""` where Redis answers nil. */
  redis(...command) {
    return this.#servers.redis(...command);
  }

  /** Everything that a topic of Kafka holds at this moment: `{key, text}`. */
  topic(name) {
    return this.#servers.topic(name);
  }

  /** All objects of a bucket under a prefix: `{key, size}`. */
  objects(bucket, prefix) {
    return this.#servers.objects(bucket, prefix);
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
