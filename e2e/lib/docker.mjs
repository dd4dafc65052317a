/** Docker as an operator uses it: its command line, and a compose project in it. */

import assert from "node:assert/strict";
import { repository } from "./paths.mjs";
import { run } from "./process.mjs";
import { until } from "./wait.mjs";

const HEALTHY_MS = 120_000;

/** `docker ARGS…`; what it writes to standard output. */
export const docker = (...args) => run("docker", args, { cwd: repository, timeoutMs: 300_000 });

/** The containers of a compose project, by their services' names. */
export class Project {
  /**
   * @param {object} facts
   * @param {string} facts.project
   * @param {string[]} facts.args what stands between `docker compose` and the command
   */
  constructor({ project, args }) {
    this.name = project;
    this.args = args;
  }

  /** `docker compose ARGS…` for this project. */
  compose(...args) {
    return docker("compose", ...this.args, ...args);
  }

  /** The merged compose files, all profiles, every variable filled in. */
  async config() {
    return JSON.parse(await this.compose("--profile", "*", "config", "--format", "json"));
  }

  /** Its containers, stopped ones too: `{service, id, name}`. */
  async containers() {
    const text = await docker(
      ...["ps", "--all", "--no-trunc"],
      ...["--filter", `label=com.docker.compose.project=${this.name}`],
      ...["--filter", "label=com.docker.compose.oneoff=False"],
      ...["--format", '{{.Label "com.docker.compose.service"}} {{.ID}} {{.Names}}'],
    );
    return text
      .trim()
      .split("\n")
      .filter(Boolean)
      .map((line) => line.split(" "))
      .map(([service, id, name]) => ({ service, id, name }));
  }

  /** The container of a service; `null` before its first start. */
  async find(service) {
    const found = (await this.containers()).filter((container) => container.service === service);
    assert.ok(found.length < 2, `${service} has ${found.length} containers`);
    return found[0]?.id ?? null;
  }

  async container(service) {
    const id = await this.find(service);
    assert.ok(id, `project ${this.name} has a container of ${service}`);
    return id;
  }

  /** What `docker inspect` says of a service's container. */
  async inspect(service) {
    return JSON.parse(await docker("inspect", await this.container(service)))[0];
  }

  async exec(service, ...command) {
    return docker("exec", await this.container(service), ...command);
  }

  /**
   * Waits until a container's own health check is content. It is asked here and now: by itself Docker asks only
   * every few seconds.
   */
  async healthy(service, withinMs = HEALTHY_MS) {
    const { Id: id, Config: config } = await this.inspect(service);
    const check = config.Healthcheck?.Test ?? [];
    const command = check[0] === "CMD-SHELL" ? ["/bin/sh", "-c", check[1]] : check.slice(1);
    assert.ok(command.length > 0, `${service} has a health check`);
    await until(`${service} is healthy`, withinMs, async () => {
      await docker("exec", id, ...command);
      return true;
    });
  }

  /** Standard output and errors of a container since it was made, as `docker logs` shows them. */
  async log(id) {
    return run("sh", ["-c", 'exec docker logs "$0" 2>&1', id]);
  }
}
