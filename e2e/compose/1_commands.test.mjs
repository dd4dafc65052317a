/** The seeds' command lines as they stand there, with a container of the project's own for an upstream. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { prepared } from "../lib/media.mjs";
import { run } from "../lib/process.mjs";
import { pushTo } from "../lib/publisher.mjs";
import { openScene } from "../lib/scene.mjs";
import { until } from "../lib/wait.mjs";
import { project } from "./project.mjs";

/** A change of the table has taken effect so soon after redis-cli's answer; the shell itself takes longer. */
const EFFECT_MS = 1_000;

const own = project();

/** A line as somebody types it. */
const shell = async (line) => (await run("bash", ["-c", line])).trim();
const eventually = (what, line, matches) =>
  until(what, EFFECT_MS, async () => matches.test(await shell(line)), 50);

before(() => own.compose("--profile", "e2e", "up", "--detach", "--wait", "upstream"));
after(async () => {
  await shell("docker exec pay-per-view-redis redis-cli DEL streams:live001 streams:mystream");
  await own.compose("--profile", "e2e", "rm", "--stop", "--force", "upstream");
});

test("a stream is registered, and curl is answered by its upstream", async () => {
  const set = 'docker exec pay-per-view-redis redis-cli SET streams:live001 "upstream:8000"';
  assert.equal(await shell(set), "OK");
  await eventually(
    "the upstream answers",
    "curl http://localhost:8080/stream/live001",
    /^upstream 8000 asked GET \/stream\/live001 as upstream:8000$/,
  );
  await eventually(
    "it answers through nginx, too",
    "curl 'http://localhost/stream/live001/index.m3u8?x=1'",
    /^upstream 8000 asked GET \/stream\/live001\/index\.m3u8\?x=1 as/,
  );
});

test("a host alone means port 80", async () => {
  await shell("docker exec pay-per-view-redis redis-cli SET streams:live001 upstream");
  await eventually(
    "port 80 answers",
    "curl http://localhost:8080/stream/live001",
    /^upstream 80 asked/,
  );
});

test("streams are managed", async () => {
  const lines = [
    ['docker exec pay-per-view-redis redis-cli SET streams:mystream "backend.local:9000"', /^OK$/],
    ["docker exec pay-per-view-redis redis-cli GET streams:mystream", /^backend\.local:9000$/],
    ['docker exec pay-per-view-redis redis-cli KEYS "streams:*"', /^streams:mystream$/m],
  ];
  for (const [line, answer] of lines) {
    assert.match(await shell(line), answer, line);
  }
  await eventually(
    "the named host answers",
    "curl http://localhost:8080/stream/mystream",
    /^upstream 9000 asked/,
  );
  assert.equal(await shell("docker exec pay-per-view-redis redis-cli DEL streams:mystream"), "1");
  await eventually(
    "the stream is not found",
    "curl -s -o /dev/null -w '%{http_code}' http://localhost:8080/stream/mystream",
    /^404$/,
  );
});

test("the container's log tells of each request", async () => {
  const marker = `log-${Date.now()}`;
  await shell(`curl -s http://localhost:8080/stream/${marker}`);
  await until("docker logs shows the request", 5_000, () =>
    shell("docker logs --tail 200 pay-per-view-openresty 2>&1").then((text) =>
      text.includes(`/stream/${marker}`),
    ),
  );
});

test("an encoder that gets nothing but the API's own addresses is on the air", async () => {
  const { api } = await openScene();
  const file = await prepared("sd");
  for (const name of ["srt_url", "rtmp_url"]) {
    const broadcaster = await api.broadcaster("address");
    const encoder = pushTo(broadcaster.created[name], file);
    try {
      await broadcaster.becomes("live");
      await until(`${name}: a master playlist`, 20_000, () => broadcaster.playlist());
    } finally {
      encoder.child.kill("SIGKILL");
      await broadcaster.stop();
    }
  }
});
