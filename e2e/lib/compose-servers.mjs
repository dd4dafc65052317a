/** The servers of a stack that is a compose project: containers, reached as an operator reaches them. */

import assert from "node:assert/strict";
import { rename, writeFile } from "node:fs/promises";
import { docker, Project } from "./docker.mjs";
import { stackFile } from "./paths.mjs";

const KAFKA = ["--bootstrap-server", "localhost:9092"];
/** Beside a broker that has all but this of its container's memory. */
const KAFKA_TOOL_HEAP = "KAFKA_HEAP_OPTS=-Xmx64m";
const TOPIC_READ_MS = 20_000;

export class ComposeServers {
  #facts;

  constructor(facts) {
    this.#facts = facts;
    this.project = new Project(facts.compose);
  }

  /** The compose service behind a name that the tests use. */
  #service(name) {
    return this.#facts.compose.names[name] ?? name;
  }

  #container(name) {
    return this.project.container(this.#service(name));
  }

  async #state(name) {
    const id = await this.project.find(this.#service(name));
    return id && (await docker("inspect", "--format", "{{.State.Status}}", id)).trim();
  }

  get objectStore() {
    return "minio";
  }

  /** The gateway of a network by which the proxy reaches the world: this machine's end of it. */
  async testsAddress() {
    const { NetworkSettings: settings } = await this.project.inspect(this.#service("proxy"));
    const gateways = Object.values(settings.Networks).map(({ Gateway: gateway }) => gateway);
    const gateway = gateways.find(Boolean);
    assert.ok(gateway, "the proxy's container reaches something outside");
    return gateway;
  }

  async runs(name) {
    return ["running", "paused"].includes(await this.#state(name));
  }

  async stop(name) {
    await docker("stop", await this.#container(name));
  }

  async start(name) {
    await docker("start", await this.#container(name));
    await this.project.healthy(this.#service(name));
  }

  async kill(name) {
    await docker("kill", await this.#container(name));
  }

  async pause(name) {
    if ((await this.#state(name)) !== "paused") {
      await docker("pause", await this.#container(name));
    }
  }

  async resume(name) {
    if ((await this.#state(name)) === "paused") {
      await docker("unpause", await this.#container(name));
    }
  }

  /** A container cannot be published twice on one port, so the second one is a service of its own. */
  async add(service) {
    const { name, url, srt_url, rtmp_url } = this.#facts.compose.spare[service];
    await this.project.compose("up", "--detach", "--no-deps", "--wait", name);
    const { services, srt_urls, rtmp_urls } = this.#facts;
    const facts = {
      ...this.#facts,
      services: { ...services, [name]: url },
      srt_urls: { ...srt_urls, [name]: srt_url },
      rtmp_urls: { ...rtmp_urls, [name]: rtmp_url },
    };
    await writeFile(`${stackFile}.part`, JSON.stringify(facts), { mode: 0o600 });
    await rename(`${stackFile}.part`, stackFile);
  }

  async logOf(name) {
    return this.project.log(await this.#container(name));
  }

  async logs() {
    const logs = new Map();
    for (const { id, name } of await this.project.containers()) {
      logs.set(name, await this.project.log(id));
    }
    assert.ok(logs.size > 0, "there are containers that have logged");
    return logs;
  }

  async childrenOf(service, name) {
    const list = 'grep -lx "$0" /proc/[0-9]*/comm || true';
    const text = await docker("exec", await this.#container(service), "sh", "-c", list, name);
    return [...text.matchAll(/^\/proc\/(\d+)\/comm$/gm)].map(([, pid]) => Number(pid));
  }

  async killChild(service, pid) {
    await docker("exec", await this.#container(service), "sh", "-c", `kill -9 ${pid}`);
  }

  async redis(...command) {
    return (await this.project.exec("redis", "redis-cli", ...command)).trim();
  }

  async #kafka(tool, ...args) {
    const id = await this.project.container("kafka");
    return docker(
      "exec",
      "--env",
      KAFKA_TOOL_HEAP,
      id,
      `/opt/kafka/bin/${tool}`,
      ...KAFKA,
      ...args,
    );
  }

  async topic(name) {
    // Compaction and retention aside, which no test waits for, the newest offsets are how many there are.
    const offsets = await this.#kafka("kafka-get-offsets.sh", "--topic", name);
    const count = offsets
      .trim()
      .split("\n")
      .reduce((sum, line) => sum + Number(line.split(":")[2]), 0);
    if (count === 0) {
      return [];
    }
    const text = await this.#kafka(
      "kafka-console-consumer.sh",
      ...["--topic", name, "--from-beginning"],
      ...["--max-messages", String(count), "--timeout-ms", String(TOPIC_READ_MS)],
      ...["--property", "print.key=true", "--property", "key.separator=\t"],
    );
    const messages = text.trim().split("\n");
    assert.equal(messages.length, count, `all messages of ${name} came`);
    return messages.map((line) => {
      const [key, ...rest] = line.split("\t");
      return { key, text: rest.join("\t") };
    });
  }

  /** By MinIO's own client, with the root account that its container knows. */
  async objects(bucket, prefix = "") {
    const { access_key: user, secret_key: password } = this.#facts.s3;
    const id = await this.project.container("minio");
    const text = await docker(
      ...["exec", "--env", `MC_HOST_e2e=http://${user}:${password}@localhost:9000`, id],
      ...["mc", "ls", "--recursive", "--json", `e2e/${bucket}/${prefix}`],
    );
    return text
      .trim()
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line))
      .map(({ key, size }) => ({ key: prefix + key, size }));
  }
}
