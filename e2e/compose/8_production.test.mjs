/**
 * docker-compose.prod.yml: nothing starts with a secret that is missing, too short or an example; with good ones
 * everything starts, no data is reachable from outside, and nobody of the demo gets in. Takes the project under test
 * down, with its data: its names and ports are needed.
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { Api } from "../lib/api.mjs";
import { docker, Project } from "../lib/docker.mjs";
import { prepared } from "../lib/media.mjs";
import { Publisher } from "../lib/publisher.mjs";
import { Stack } from "../lib/stack.mjs";
import { until } from "../lib/wait.mjs";
import { project, runFile } from "./project.mjs";

const SECRETS = [
  ...["JWT_SECRET_KEY", "INTERNAL_API_KEY", "POSTGRES_PASSWORD", "AUTH_DB_PASSWORD"],
  ...["STREAM_DB_PASSWORD", "RECORDING_DB_PASSWORD", "VOD_DB_PASSWORD", "PLAYBACK_DB_PASSWORD"],
  ...["AUTH_FDW_PASSWORD", "S3_SECRET_KEY"],
];
const good = () => ({
  ...Object.fromEntries(SECRETS.map((name) => [name, randomBytes(32).toString("hex")])),
  PUBLIC_BASE_URL: "https://tv.example",
  PUBLIC_SRT_URL: "srt://tv.example:8890",
  PUBLIC_RTMP_URL: "rtmp://tv.example:1935",
  CORS_ALLOWED_ORIGINS: "https://tv.example",
});

const own = project();
let demoUsers;

before(async () => {
  demoUsers = (await Stack.open()).facts.users;
  await own.compose("--profile", "*", "down", "--volumes");
});

/** The same project, as an operator starts it: with these variables and no others. */
async function production(variables) {
  const file = runFile("production.env");
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`);
  await writeFile(file, lines.join(""), { mode: 0o600 });
  return new Project({
    project: own.name,
    args: [
      ...["--project-name", own.name, "--env-file", file],
      ...["--file", "docker-compose.yml", "--file", "docker-compose.prod.yml"],
      ...["--file", "e2e/compose/images.yml"],
    ],
  });
}

const up = (installation) =>
  installation.compose("up", "--detach", "--wait", "--wait-timeout", "300", "--no-build");

/** Removes what was started: the next one begins without volumes. */
const down = (installation) => installation.compose("down", "--volumes");

describe("nothing starts", { concurrency: false }, () => {
  const { JWT_SECRET_KEY: _jwt, ...withoutJwt } = good();
  const { PUBLIC_BASE_URL: _url, ...withoutAddress } = good();
  const cases = {
    "without any variable": [{}, SECRETS.map((name) => `${name} is not set`)],
    "with a secret missing": [withoutJwt, ["JWT_SECRET_KEY is not set"]],
    "with an empty one": [{ ...good(), INTERNAL_API_KEY: "" }, ["INTERNAL_API_KEY is not set"]],
    "with a short one": [
      { ...good(), AUTH_DB_PASSWORD: "a".repeat(31) },
      ["AUTH_DB_PASSWORD: 31 characters are too short"],
    ],
    "with one that documents show": [
      { ...good(), S3_SECRET_KEY: "minioadmin", JWT_SECRET_KEY: "your_secret_key" },
      ["S3_SECRET_KEY: this is an example", "JWT_SECRET_KEY: this is an example"],
    ],
    "without the public address": [withoutAddress, ["PUBLIC_BASE_URL is not set"]],
  };
  for (const [name, [variables, complaints]] of Object.entries(cases)) {
    test(`${name}, and a line says why`, async () => {
      const installation = await production(variables);
      try {
        await assert.rejects(up(installation), /secrets/);
        const said = await installation.log(await installation.container("secrets"));
        for (const complaint of complaints) {
          assert.ok(
            said.split("\n").some((line) => line.includes(complaint)),
            said,
          );
        }
        for (const value of Object.values(variables).filter((text) => text.length >= 31)) {
          assert.ok(!said.includes(value), "no secret is in the log");
        }
        assert.deepEqual(
          (
            await docker(
              "ps",
              "--quiet",
              "--filter",
              `label=com.docker.compose.project=${own.name}`,
            )
          ).trim(),
          "",
          "nothing runs",
        );
      } finally {
        await down(installation);
      }
    });
  }
});

describe("with good secrets", { concurrency: false }, () => {
  let installation;
  /** Through nginx: what it publishes besides is looked at below. */
  const api = new Api({ baseUrl: "http://localhost", gatewayUrl: "http://localhost" });

  before(async () => {
    installation = await production(good());
    await up(installation);
  });
  after(() => down(installation));

  test("only the page, and publishers' ports, are open to others", async () => {
    const open = new Set();
    for (const { service, id } of await installation.containers()) {
      const [{ NetworkSettings: settings }] = JSON.parse(await docker("inspect", id));
      for (const [port, published] of Object.entries(settings.Ports)) {
        for (const { HostIp: address } of published ?? []) {
          if (address !== "127.0.0.1") {
            open.add(`${service} ${port}`);
          }
        }
      }
    }
    assert.deepEqual([...open].sort(), [
      "frontend 80/tcp",
      "transcoder 1935/tcp",
      "transcoder 8890/udp",
    ]);
  });

  test("servers with data are published nowhere, not even on loopback", async () => {
    for (const service of ["postgres", "redis", "kafka", "minio"]) {
      const { NetworkSettings: settings } = await installation.inspect(service);
      const published = Object.values(settings.Ports).filter(Boolean);
      assert.deepEqual(published, [], service);
    }
  });

  test("the demo's accounts do not exist", async () => {
    for (const { username, password } of demoUsers) {
      const body = { login: username, password };
      const { status, text } = await api.request("POST", "/api/auth/login", { body });
      assert.equal(status, 401, text);
    }
    const list = ["auth", "admin", "list"];
    assert.equal((await installation.exec("auth-service", ...list)).trim(), "", "nobody does");
  });

  test("somebody registers and goes on the air", async () => {
    const broadcaster = await api.broadcaster("production");
    assert.ok(broadcaster.created.srt_url.startsWith("srt://tv.example:8890?"));
    const file = await prepared("sd");
    const { key } = broadcaster;
    const publisher = new Publisher({ srtUrl: "srt://127.0.0.1:8890", key, file });
    try {
      await broadcaster.becomes("live");
      await until("a master playlist", 20_000, () => broadcaster.playlist());
    } finally {
      await publisher.vanish();
    }
  });
});
