/** deploy/backup: what is saved while everything runs is brought back where there is nothing. */

import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
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

  await stack.redis("SET", "streams:gone", "backend.local:9000");
  await backup("save", dir);
  const secondBroadcast = await FinishedBroadcast.make(t, scene);
  await stack.redis("DEL", "streams:gone");
  await t.test("a save that was interrupted leaves the one before it whole", async () => {
    await own.exec("redis", "redis-cli", "CONFIG", "SET", "requirepass", "nobody-knows");
    await assert.rejects(backup("save", dir), /NOAUTH/);
    await own.exec("redis", "redis-cli", "-a", "nobody-knows", "CONFIG", "SET", "requirepass", "");
    assert.match(await readFile(path.join(dir, "saved/routes.tsv"), "utf8"), /^streams:gone\t/m);
  });
  assert.match(await backup("save", dir), /saved: /);

  await t.test("the folder is for its owner alone", async () => {
    const inside = await readdir(dir, { recursive: true });
    const secrets = inside.filter((name) => name.startsWith("saved/secrets/"));
    assert.ok(secrets.length > 3, inside.join());
    for (const name of ["", "saved", "saved/postgres.sql.gz", "saved/secrets", ...secrets]) {
      assert.equal((await stat(path.join(dir, name))).mode & 0o077, 0, name);
    }
  });

  await t.test("nothing is written over data", async () => {
    await assert.rejects(backup("restore", dir), /nothing is written over data/);
    await finished.isAsItWas();
  });

  await t.test("a backup is not replaced by another installation's", async () => {
    const mark = path.join(dir, "saved/installation");
    const whose = await readFile(mark, "utf8");
    await writeFile(mark, "7000000000000000000\n");
    await assert.rejects(backup("save", dir), /has the data of another installation/);
    await writeFile(mark, whose);
  });

  await own.compose("--profile", "*", "down", "--volumes");
  await backup("restore", dir);
  await assert.rejects(backup("restore", dir), /nothing is written over data/);
  await own.compose("up", "--detach", "--wait", "--wait-timeout", "300");

  await t.test("accounts, passwords and sessions", async () => {
    for (const name of ["admin", "viewer", "demo"]) {
      await api.signIn(stack.user(name));
    }
    const { token } = finished.broadcaster;
    const { status, text } = await api.request("GET", "/api/auth/me", { token });
    assert.equal(status, 200, text);
  });
  await t.test("the broadcasts, byte for byte", async () => {
    await finished.isAsItWas();
    await secondBroadcast.isAsItWas();
  });
  await t.test("what operators have set, and not what expires", async () => {
    assert.equal(await stack.redis("GET", "streams:kept"), "backend.local:9000");
    assert.equal(await stack.redis("EXISTS", "streams:edge", "streams:gone"), "0");
    await stack.redis("DEL", "streams:kept");
  });
  await t.test("what is saved from now on is this installation's", async () => {
    assert.match(await backup("save", dir), /saved: /);
  });
});

test("a folder without a whole backup is refused", async () => {
  const empty = await mkdtemp(path.join(os.tmpdir(), "marquee-no-backup-"));
  try {
    await mkdir(path.join(empty, "saved"));
    await writeFile(path.join(empty, "saved/postgres.sql.gz"), "");
    await assert.rejects(backup("restore", empty), /is no whole backup/);
  } finally {
    await rm(empty, { recursive: true });
  }
});
