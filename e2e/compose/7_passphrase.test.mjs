/** SRT_PASSPHRASE: who knows it is on the air, the test broadcaster as well; who does not is refused. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Project } from "../lib/docker.mjs";
import { prepared } from "../lib/media.mjs";
import { pushTo } from "../lib/publisher.mjs";
import { openScene } from "../lib/scene.mjs";
import { until } from "../lib/wait.mjs";
import { composeArgs, project, runFile } from "./project.mjs";

const PASSPHRASE = randomBytes(16).toString("hex");
const ON_AIR_MS = 60_000;
const REFUSED_MS = 20_000;

const own = project();
let scene;
let encrypted;

before(async () => {
  scene = await openScene();
  const file = runFile("passphrase.env");
  const lines = `SRT_PASSPHRASE=${PASSPHRASE}\nSRT_KEY_LENGTH=32\n`;
  await writeFile(file, lines, { mode: 0o600 });
  encrypted = new Project({ project: own.name, args: [...composeArgs(), "--env-file", file] });
  await encrypted.compose("up", "--detach", "--wait", "transcoder");
});
after(async () => {
  await own.compose("--profile", "broadcast", "rm", "--stop", "--force", "broadcaster");
  await own.compose("up", "--detach", "--wait", "transcoder");
});

test("without the passphrase, or with another, a publisher is refused, and is told", async () => {
  const broadcaster = await scene.api.broadcaster("passphrase");
  for (const more of ["", "&passphrase=wrong-horse-battery"]) {
    const encoder = pushTo(`${broadcaster.created.srt_url}${more}`, await prepared("sd"));
    try {
      const exit = await until("the encoder gives up", REFUSED_MS, () =>
        Promise.race([encoder.exited, null]),
      );
      assert.notEqual(exit.code, 0);
      assert.match(encoder.tail(), /Password required or unexpected|Incorrect passphrase/);
    } finally {
      encoder.child.kill("SIGKILL");
    }
  }
  assert.equal(await broadcaster.status(), "active", "it never was live");
});

test("with it, a publisher is on the air", async () => {
  const broadcaster = await scene.api.broadcaster("passphrase");
  const url = `${broadcaster.created.srt_url}&passphrase=${PASSPHRASE}`;
  const encoder = pushTo(url, await prepared("sd"));
  try {
    await broadcaster.becomes("live", ON_AIR_MS);
    await until("a master playlist", ON_AIR_MS, () => broadcaster.playlist());
  } catch (error) {
    const said = encoder.tail().replaceAll(broadcaster.key, "***");
    throw new Error(`${error.message}; the encoder: ${said}`, { cause: error });
  } finally {
    encoder.child.kill("SIGKILL");
    await broadcaster.stop();
  }
});

test("the test broadcaster knows it, and tells it to who sets up OBS", async () => {
  await encrypted.compose("--profile", "broadcast", "up", "--detach", "--wait", "broadcaster");
  await until("the account demo is on the air", ON_AIR_MS, async () => {
    const { items } = await scene.api.publicStreams();
    return items.some(({ username, status }) => username === "demo" && status === "live");
  });
  const obs = ["run", "--rm", "--no-deps", "broadcaster", "obs"];
  const said = await encrypted.compose("--profile", "broadcast", ...obs);
  assert.match(said, new RegExp(`^  SRT +Server +srt://\\S+&passphrase=${PASSPHRASE}$`, "m"));
});

test("no log has it", async () => {
  for (const service of ["transcoder", "broadcaster"]) {
    const log = await own.log(await own.container(service));
    assert.ok(log.length > 0, service);
    assert.ok(!log.includes(PASSPHRASE), service);
  }
});
