/**
 * The low-latency way of a live: nginx → proxy → edge, played by the page in Chromium, its latency
 * read from a clock that the source paints into the picture; and what becomes of viewers when the
 * edge goes away and comes back.
 */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launchBrowser, openPage, screenshot } from "../lib/browser.mjs";
import { PaintedPublisher, readClock } from "../lib/painted-clock.mjs";
import { openScene } from "../lib/scene.mjs";
import { sleep, until } from "../lib/wait.mjs";

/** Two rungs, so that ladder, browser and servers are real time on two cores. */
const SOURCE = { size: [640, 480], fps: 30, kbps: 1200 };
const GO_LIVE_MS = 30_000;
/** The player asks the edge again after 15 s and a quarter of that. */
const BACK_ON_EDGE_MS = 40_000;

let scene;
let browser;
let broadcaster;
let publisher;

before(async () => {
  scene = await openScene();
  browser = await launchBrowser();
  broadcaster = await scene.api.broadcaster("e2e", "The clock");
  publisher = new PaintedPublisher({
    srtUrl: scene.stack.srtUrl,
    key: broadcaster.key,
    ...SOURCE,
  });
  await until("the broadcast can be watched", GO_LIVE_MS, () => broadcaster.playlist());
  await broadcaster.becomes("live", GO_LIVE_MS);
});
after(async () => {
  await publisher?.stop();
  await broadcaster?.stop();
  await browser?.close();
});

/** Runs `body` on the watch page once pictures move, and keeps a picture of it when it fails. */
async function watching(t, body) {
  const opened = await openPage(browser, `${scene.stack.baseUrl}/live/${broadcaster.id}`);
  try {
    await opened.player.playsOn();
    await body(opened);
  } catch (error) {
    t.diagnostic(`screenshot: ${await screenshot(opened.page, t.name.replaceAll(/\W+/g, "-"))}`);
    opened.log.forEach((line) => t.diagnostic(line));
    t.diagnostic(publisher.log());
    throw error;
  } finally {
    await opened.close();
  }
}

const plays = (page, source, withinMs) =>
  until(
    `the ${source} source plays`,
    withinMs,
    async () => (await page.getByTestId("player").getAttribute("data-source")) === source,
  );

const latenciesOf = ({ samples }) => samples.map(({ latencyMs }) => latencyMs);

test("the stream's public answer names the edge", async () => {
  const stream = await scene.api.stream(broadcaster.id);
  assert.equal(stream.ll_hls_url, `${scene.stack.baseUrl}/stream/${broadcaster.id}/master.m3u8`);
});

test("a minute of a live is less than two seconds old all the time, without stall or error", (t) =>
  watching(t, async ({ page, player, log }) => {
    await plays(page, "low-latency", 1_000);
    await sleep(5_000);
    const before = await player.time();
    const clock = await readClock(page, 60_000);
    const latencies = latenciesOf(clock);
    t.diagnostic(`${latencies.length} frames, ${spreadOf(latencies)} ms, ${clock.waits} stalls`);
    assert.ok(latencies.length > 400, `${latencies.length} frames were read`);
    assert.ok(Math.max(...latencies) < 2_000, `up to ${Math.max(...latencies)} ms old`);
    assert.equal(clock.waits, 0, "the picture never stood");
    const played = (await player.time()) - before;
    assert.ok(played > 58 && played < 62, `${played} s were played in 60 s`);
    assert.equal(await page.getByTestId("player").getAttribute("data-source"), "low-latency");
    assert.deepEqual(log, []);
  }));

test("the latency shown is the latency there is", (t) =>
  watching(t, async ({ page }) => {
    await plays(page, "low-latency", 1_000);
    const { samples } = await readClock(page, 8_000);
    const off = samples
      .filter(({ shown }) => shown !== null)
      .map(({ latencyMs, shown }) => Math.abs(shown * 1_000 - latencyMs))
      .sort((a, b) => a - b);
    assert.ok(off.length > 30, `${off.length} read-outs`);
    const median = off[Math.floor(off.length / 2)];
    assert.ok(median < 400, `off by ${median} ms`);
  }));

describe("a viewer", () => {
  test("who sought back is left there, and the Live button returns to the edge", (t) =>
    watching(t, async ({ page, player }) => {
      await plays(page, "low-latency", 1_000);
      await page.keyboard.press("j");
      await until("the past plays", 5_000, async () => (await player.latency()) > 9);
      await player.playsOn(5_000);
      const { samples } = await readClock(page, 5_000);
      const past = samples.map(({ latencyMs }) => latencyMs);
      assert.ok(Math.min(...past) > 8_000, `${Math.min(...past)} ms: it is not pulled to live`);
      assert.ok(Math.max(...past) - Math.min(...past) < 1_000, "it keeps its distance");

      await player.wake();
      const live = page.getByTestId("live-button");
      assert.equal(await live.getAttribute("data-at-live"), "false");
      await live.click();
      await until("it is live again", 5_000, async () => (await player.latency()) < 2);
      assert.equal(await live.getAttribute("data-at-live"), "true");
    }));

  test("falls back when the edge's route is gone, and comes back to it by itself", (t) =>
    watching(t, async ({ page, player }) => {
      await plays(page, "low-latency", 1_000);
      const watched = readClock(page, 25_000, 1);
      await withoutRoute(broadcaster.id, async () => {
        await plays(page, "plain", 15_000);
        await player.playsOn(20_000);
        assertAtTheSameDate(await watched);
      });
      await plays(page, "low-latency", BACK_ON_EDGE_MS);
      await player.playsOn(5_000);
      await until("it is close to live", 10_000, async () => (await player.latency()) < 2);
      assert.equal(await player.phase(), "playing");
      assert.ok(await player.neverReloaded());
    }));
});

/** The proxy finds no edge while `body` runs: an operator's value stands in its place, and leads nowhere. */
async function withoutRoute(id, body) {
  const { stack } = scene;
  const own = await stack.redis("GET", `streams:${id}`);
  assert.ok(own, "the edge has put itself into the table");
  await stack.redis("SET", `streams:${id}`, "127.0.0.1:9");
  try {
    await body();
  } finally {
    await stack.redis("DEL", `streams:${id}`);
  }
}

/**
 * The newest moment of the plain playlists is older than the edge's by a segment, and by the second for which nginx
 * caches a playlist; the time that storing takes is less than what a viewer of the edge is behind.
 */
const SHOWN_AGAIN_MS = 3_000;

/** From one source to the other hardly anything is left out, and what is shown twice is what the plain playlists lack. */
function assertAtTheSameDate({ samples }) {
  const moments = samples.map(({ at, latencyMs }) => at - latencyMs);
  const steps = moments.slice(1).map((moment, i) => moment - moments[i]);
  assert.ok(Math.max(...steps) < 1_000, `${Math.max(...steps)} ms were left out`);
  assert.ok(Math.min(...steps) > -SHOWN_AGAIN_MS, `${-Math.min(...steps)} ms were shown again`);
  assert.ok(samples.at(-1).latencyMs > 2_000, "the plain playlists are further behind");
}

function spreadOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) => sorted[Math.floor((sorted.length - 1) * share)];
  return `p50 ${at(0.5)}, p95 ${at(0.95)}, max ${at(1)}`;
}
