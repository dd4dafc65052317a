/** deploy/backup: what is saved while everything runs is brought back where there is nothing. */

import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { repository } from "../lib/paths.mjs";
import { run } from "../lib/process.mjs";
import { openScene } from "../lib/scene.mjs";
import { FinishedBroadcast } from "./finished.mjs";
import { composeArgs, project } from "./project.mjs";

const BACKUP_MS = 300_000;

const own = project();
let scene;
let dir;

before(async () => {
  scene = await openScene();
  dir = await mkdtemp(path.join(os.tmpdir(), "marquee-backup-"));
  await chmod(dir, 0o755);
});
after(() => rm(dir, { recursive: true, force: true }));

/** The script for the project under test, told as an operator would: by compose's own variables. */
function backup(...args) {
  const given = composeArgs();
  const values = (name) => given.filter((_, at) => given[at - 1] === name);
  const env = {
    ...process.env,
    COMPOSE_PROJECT_NAME: own.name,
    COMPOSE_FILE: values("--file").join(":"),
    COMPOSE_ENV_FILES: values("--env-file").join(","),
  };
  return run("deploy/backup", args, { cwd: repository, env, timeoutMs: BACKUP_MS });
}

test("what was saved while it ran is restored where there is nothing", async (t) => {
  const { stack, api } = scene;
  const finished = await FinishedBroadcast.make(t, scene);
  await stack.redis("SET", "streams:kept", "backend.local:9000");
  await stack.redis("SET", "streams:edge", "10.255.255.1:1", "EX", "1000");

  await backup("save", dir);
  const again = await backup("save", dir);
  assert.match(again, /saved: /);

  await t.test("the folder is for its owner alone", async () => {
    for (const inside of ["", "postgres.sql.gz", "routes.tsv"]) {
      assert.equal((await stat(path.join(dir, inside))).mode & 0o077, 0, inside);
    }
  });

  await t.test("nothing is written over data", async () => {
    await assert.rejects(backup("restore", dir), /nothing is written over data/);
    await finished.isAsItWas();
  });

  await own.compose("--profile", "*", "down", "--volumes");
  await backup("restore", dir);
  await own.compose("up", "--detach", "--wait", "--wait-timeout", "300");

  await t.test("accounts, passwords and sessions", async () => {
    for (const name of ["admin", "viewer", "demo"]) {
      await api.signIn(stack.user(name));
    }
    const { token } = finished.broadcaster;
    const { status, text } = await api.request("GET", "/api/auth/me", { token });
    assert.equal(status, 200, text);
  });
  await t.test("the broadcast, byte for byte", () => finished.isAsItWas());
  await t.test("what operators have set, and not what expires", async () => {
    assert.equal(await stack.redis("GET", "streams:kept"), "backend.local:9000");
    assert.equal(await stack.redis("EXISTS", "streams:edge"), "0");
    await stack.redis("DEL", "streams:kept");
  });
});

test("a folder without a whole backup is refused", async () => {
  const empty = await mkdtemp(path.join(os.tmpdir(), "marquee-no-backup-"));
  try {
    await writeFile(path.join(empty, "postgres.sql.gz"), "");
    await assert.rejects(backup("restore", empty), /is no whole backup/);
  } finally {
    await rm(empty, { recursive: true });
  }
});
