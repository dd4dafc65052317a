/** One broadcast from a broadcaster's encoder to a viewer's screen, and a key that is worth nothing. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { launchBrowser, openPage, screenshot } from "../lib/browser.mjs";
import { assertRunsThrough, assertSameTimeline } from "../lib/expect.mjs";
import { prepared } from "../lib/media.mjs";
import { Publisher } from "../lib/publisher.mjs";
import { onLive, openScene } from "../lib/scene.mjs";
import { until } from "../lib/wait.mjs";

const RUNGS = ["1080p", "720p", "480p", "360p"];
const TITLE = "Harbour at dusk";

let scene;
let browser;

before(async () => {
  scene = await openScene();
  browser = await launchBrowser();
});
after(() => browser?.close());

test("a 1080p broadcast", async (t) => {
  await onLive(t, { scene, input: "full-hd", rungs: RUNGS, title: TITLE }, async (live) => {
    const { broadcaster } = live;
    // Everything a viewer's browser ever asked for or was told, for the search at the end.
    const seen = [];
    const viewer = await openPage(browser, scene.stack.baseUrl);
    viewer.page.on("request", (request) => seen.push(request.url()));
    viewer.page.on("response", async (response) => {
      if (/json|mpegurl|html/.test(response.headers()["content-type"] ?? "")) {
        seen.push(await response.text().catch(() => ""));
      }
    });
    const { page, player } = viewer;

    try {
      await t.test("is on the page of what is live, and a click plays it", async () => {
        const card = page.getByTestId("live-card").filter({ hasText: broadcaster.username });
        await card.waitFor({ timeout: 15_000 });
        await card.click();
        await page.waitForURL(`**/live/${broadcaster.id}`);
        await player.playsOn();
        assert.equal(await page.getByTestId("username").innerText(), broadcaster.username);
        assert.equal(await page.getByTestId("stream-title").innerText(), TITLE);
        assert.equal(await page.getByTestId("status").innerText(), "LIVE");
      });

      await t.test("offers all four rungs, and 360p has 360 lines", async () => {
        assert.deepEqual(await player.qualities(), ["Auto", ...RUNGS]);
        await player.choose("360p");
        await player.showsLines(360);
        await player.playsOn();
        assert.ok((await player.video()).audioBytes > 0, "there is sound");
      });

      await t.test("tells the delay to the broadcaster", async () => {
        const seconds = await until("a delay is shown", 5_000, () => player.latency());
        assert.ok(seconds > 0 && seconds < 15, `${seconds} s`);
      });

      await t.test("has a master that lists the ladder truly", async () => {
        const master = await live.master();
        assert.deepEqual(
          master.map(({ uri, width, height }) => [uri, width, height]),
          [
            ["1080p/playlist.m3u8", 1920, 1080],
            ["720p/playlist.m3u8", 1280, 720],
            ["480p/playlist.m3u8", master[2].width, 480],
            ["360p/playlist.m3u8", 640, 360],
          ],
        );
        assert.ok([852, 853, 854].includes(master[2].width), `480p is ${master[2].width} wide`);
        for (const { name, codecs, frameRate, bandwidth } of master) {
          assert.match(codecs, /^avc1\.[0-9a-fA-F]{6},mp4a\.40\.2$/, name);
          assert.equal(frameRate, 15, name);
          assert.ok(bandwidth > 100_000, name);
        }
        const stream = await scene.api.stream(broadcaster.id);
        assert.deepEqual(stream.available_qualities, RUNGS);
        assert.equal(stream.hls_url, `${broadcaster.hlsBase}/master.m3u8`);
      });

      await t.test("runs through in every rung, on one timeline", async () => {
        await live.listed(5);
        const lists = live.lists();
        assertSameTimeline(lists);
        for (const rung of RUNGS) {
          const list = lists[rung];
          assert.equal(list.mediaSequence, 1);
          assert.equal(list.targetDuration, 2);
          assert.ok(list.segments[0].date, "a date comes first");
          const [{ video }] = await assertRunsThrough(broadcaster, rung, list, { fps: 15 });
          assert.equal(video.codec, "h264");
          assert.equal(video.height, Number.parseInt(rung, 10));
        }
      });

      await t.test("is served to any origin, typed and cacheable as it should be", () =>
        assertServing(live),
      );

      await t.test("is listed publicly without its key", async () => {
        const { items } = await scene.api.publicStreams();
        const own = items.find(({ id }) => id === broadcaster.id);
        assert.equal(own.username, broadcaster.username);
        assert.equal(own.status, "live");
        assert.ok(!("stream_key" in own), Object.keys(own).join());
        const { json } = await scene.api.request("GET", `/api/streams/${broadcaster.id}`);
        assert.ok(!("stream_key" in json), Object.keys(json).join());
      });

      await t.test("ends for everybody when its owner stops it", async () => {
        await broadcaster.stop();
        await live.ended(10_000);
        await until("the publisher is gone", 5_000, () => !live.publisher.running);
        assert.equal(await broadcaster.status(), "active");
        await page.getByTestId("ended").waitFor({ timeout: 25_000 });
        assert.ok(await player.neverReloaded());
      });

      await t.test("leaves its key nowhere", async () => {
        await assertKeyNowhere(broadcaster, [await page.content(), ...seen]);
      });
    } catch (error) {
      t.diagnostic(`screenshot: ${await screenshot(page, "01-live")}`);
      throw error;
    } finally {
      viewer.log.forEach((line) => t.diagnostic(line));
      await viewer.close();
    }
  });
});

async function assertServing(live) {
  const { broadcaster } = live;
  const get = (file, headers = {}) =>
    fetch(`${broadcaster.hlsBase}/${file}`, {
      headers: { origin: "https://else.where", ...headers },
    });
  const { uri } = live.list("720p").segments[0];

  for (const playlist of ["master.m3u8", "720p/playlist.m3u8"]) {
    const { status, headers } = await get(playlist, { "accept-encoding": "gzip" });
    assert.equal(status, 200, playlist);
    assert.match(headers.get("content-type"), /^application\/(vnd\.apple\.|x-)mpegurl/i, playlist);
    assert.equal(headers.get("access-control-allow-origin"), "*", playlist);
    assert.match(headers.get("cache-control"), /no-cache/, playlist);
  }
  const segment = await get(`720p/${uri}`);
  const bytes = Buffer.from(await segment.arrayBuffer());
  assert.equal(segment.headers.get("content-type"), "video/mp2t");
  assert.equal(segment.headers.get("access-control-allow-origin"), "*");
  assert.equal(bytes[0], 0x47, "a segment begins with a TS packet");
  const [, age] = /max-age=(\d+)/.exec(segment.headers.get("cache-control") ?? "") ?? [];
  assert.ok(Number(age) >= 3600, `segments are cached long: ${age}`);

  const part = await get(`720p/${uri}`, { range: "bytes=0-187" });
  assert.equal(part.status, 206);
  assert.equal((await part.arrayBuffer()).byteLength, 188);

  const missing = await get("720p/0-0-0-0-0.ts");
  assert.equal(missing.status, 404);
  assert.equal(missing.headers.get("access-control-allow-origin"), "*");
  const listing = await fetch(`${scene.stack.baseUrl}/live-streams/`);
  assert.ok(!(await listing.text()).includes(broadcaster.id), "the bucket cannot be listed");
}

/** The key opens the broadcast: whoever reads it can take the broadcast over. */
async function assertKeyNowhere(broadcaster, texts) {
  const { key, id } = broadcaster;
  const where = [];
  const look = (name, text) => text.includes(key) && where.push(name);

  texts.forEach((text, i) => look(`what the browser saw (${i})`, text));
  look("the master playlist", (await broadcaster.playlist()) ?? "");
  for (const rung of RUNGS) {
    look(`the ${rung} playlist`, (await broadcaster.playlist(rung)) ?? "");
  }
  const objects = await scene.stack.objects("live-segments", `${id}/`);
  assert.ok(objects.length > 8, "the broadcast's objects are found by listing");
  for (const { key: name, size } of objects) {
    look(`an object's name`, name);
    assert.ok(size > 0, `${name} is empty`);
  }
  for (const [file, text] of await scene.stack.logs()) {
    look(file, text);
  }
  const events = await until("the broadcast's end in Kafka", 15_000, async () => {
    const all = await scene.stack.topic("live");
    const own = all.filter(({ key: stream }) => stream === id);
    return own.length >= 2 ? own : null;
  });
  assert.deepEqual(
    events.map(({ text }) => JSON.parse(text).type),
    ["live.started", "live.ended"],
  );
  events.forEach(({ text }) => look("Kafka", text));
  assert.deepEqual(where, []);
}

describe("a key that opens nothing", { concurrency: false }, () => {
  const badKey = () => randomBytes(32).toString("base64url");

  async function refused(key) {
    const publisher = new Publisher({
      srtUrl: scene.stack.srtUrl,
      key,
      file: await prepared("480p"),
    });
    await until("the publisher is refused", 8_000, () => !publisher.running);
    assert.notEqual(publisher.ended.code, 0);
  }

  const checks = () => scene.stack.metric("transcoder", "transcoder_key_checks_total");
  const refusals = () =>
    scene.stack.metric("transcoder", "transcoder_publishers_refused_total", {
      reason: "known_bad_key",
    });

  test("is refused, once asked about and then from memory", async () => {
    const key = badKey();
    const ladders = await scene.stack.childrenOf("transcoder", "ffmpeg");
    const [checkedBefore, refusedBefore] = [await checks(), await refusals()];

    await refused(key);
    assert.equal((await checks()) - checkedBefore, 1);
    for (let i = 0; i < 3; i += 1) {
      await refused(key);
    }
    assert.equal((await checks()) - checkedBefore, 1, "the stream service was asked once");
    assert.ok((await refusals()) - refusedBefore >= 3, "the others were refused at the door");
    const now = await scene.stack.childrenOf("transcoder", "ffmpeg");
    assert.deepEqual(
      now.filter((pid) => !ladders.includes(pid)),
      [],
      "no ffmpeg was started",
    );
  });

  test("is not found in a log either", async () => {
    const key = badKey();
    await refused(key);
    for (const [file, text] of await scene.stack.logs()) {
      assert.ok(!text.includes(key), file);
    }
  });
});
