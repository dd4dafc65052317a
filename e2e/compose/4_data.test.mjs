/** What stays: over `docker compose up` when everything runs, and over `down` and `up`. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { docker } from "../lib/docker.mjs";
import { prepared } from "../lib/media.mjs";
import { parseMedia } from "../lib/playlist.mjs";
import { Publisher } from "../lib/publisher.mjs";
import { openScene } from "../lib/scene.mjs";
import { until } from "../lib/wait.mjs";
import { FinishedBroadcast } from "./finished.mjs";
import { project } from "./project.mjs";

const own = project();
let scene;

before(async () => {
  scene = await openScene();
});

const up = () => own.compose("up", "--detach", "--wait", "--wait-timeout", "300");

/** What runs: each container with the moment it was started. */
async function running() {
  const found = [];
  for (const { service, id } of await own.containers()) {
    const format = "{{.State.Running}} {{.State.StartedAt}}";
    const [runs, startedAt] = (await docker("inspect", "--format", format, id)).trim().split(" ");
    if (runs === "true") {
      found.push([service, id, startedAt]);
    }
  }
  return found.sort(([a], [b]) => a.localeCompare(b));
}

test("a second up touches nothing that runs", async () => {
  const before = await running();
  assert.ok(before.length >= 10, `${before.length} containers run`);
  await up();
  assert.deepEqual(await running(), before);
});

test("down and up keep accounts, streams, recordings, routes and secrets", async (t) => {
  const { stack, api } = scene;
  const finished = await FinishedBroadcast.make(t, scene);
  const { broadcaster } = finished;
  const events = await stack.topic("live");
  await stack.redis("SET", "streams:kept", "backend.local:9000");
  const demo = await api.signIn(stack.user("demo"));

  await own.compose("--profile", "*", "down");
  assert.deepEqual(await own.containers(), [], "nothing is left but the volumes");
  await up();

  await t.test("the accounts and their passwords, and who was signed in still is", async () => {
    for (const token of [broadcaster.token, demo]) {
      const { status, text } = await api.request("GET", "/api/auth/me", { token });
      assert.equal(status, 200, text);
    }
    for (const name of ["admin", "viewer", "demo"]) {
      await api.signIn(stack.user(name));
    }
  });

  await t.test("the broadcast, byte for byte", () => finished.isAsItWas());

  await t.test("what was told in Kafka, and what redis-cli set", async () => {
    const told = new Set((await stack.topic("live")).map(({ text }) => text));
    assert.ok(events.length > 0, "something was told");
    assert.deepEqual(
      events.filter(({ text }) => !told.has(text)),
      [],
    );
    assert.equal(await stack.redis("GET", "streams:kept"), "backend.local:9000");
    await stack.redis("DEL", "streams:kept");
  });

  await t.test(
    "the stream's key, by which the next broadcast goes on with the numbers",
    async () => {
      const file = await prepared("sd");
      const publisher = new Publisher({ srtUrl: stack.srtUrl, key: broadcaster.key, file });
      try {
        await broadcaster.becomes("live");
        const next = await until("a playlist of the next broadcast", 20_000, async () => {
          const list = parseMedia(await broadcaster.playlist("360p"));
          return list.segments.length > 0 && !list.ended ? list : null;
        });
        assert.ok(next.mediaSequence > finished.last, `numbers go on: ${next.mediaSequence}`);
      } finally {
        await publisher.vanish();
        await broadcaster.stop();
      }
    },
  );
});
