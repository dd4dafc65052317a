/** Profile `broadcast`: OBS is told where to push, the test picture is on the first page and comes back by itself. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchBrowser, openPage, screenshot } from "../lib/browser.mjs";
import { prepared } from "../lib/media.mjs";
import { pushTo } from "../lib/publisher.mjs";
import { openScene } from "../lib/scene.mjs";
import { until } from "../lib/wait.mjs";
import { project } from "./project.mjs";

const ON_AIR_MS = 60_000;
/** The test picture has dozens; a black or frozen one has a handful. */
const LEAST_COLOURS = 24;

const own = project();
const broadcast = (...args) => own.compose("--profile", "broadcast", ...args);
let scene;
let browser;

before(async () => {
  scene = await openScene();
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  await broadcast("rm", "--stop", "--force", "broadcaster");
});

const onAir = () =>
  until("the account demo is on the air", ON_AIR_MS, async () => {
    const { items } = await scene.api.publicStreams();
    return items.find(({ username, status }) => username === "demo" && status === "live");
  });

const offAir = () =>
  until("it is off the air", ON_AIR_MS, async () => {
    const { items } = await scene.api.publicStreams();
    return !items.some(({ username, status }) => username === "demo" && status === "live");
  });

/** How many colours the picture has, coarsely. */
const colours = (page) =>
  page.evaluate(() => {
    const canvas = new OffscreenCanvas(64, 36);
    const context = canvas.getContext("2d");
    context.drawImage(document.querySelector("video"), 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const found = new Set();
    for (let at = 0; at < data.length; at += 4) {
      found.add(((data[at] >> 5) << 6) | ((data[at + 1] >> 5) << 3) | (data[at + 2] >> 5));
    }
    return found.size;
  });

/** What follows a name in the table for OBS. */
const entered = (text, name) => text.match(new RegExp(`^ .*${name} +(\\S+)`, "m"))?.[1];

/** Pushes until the demo's stream is on the air, at the page that was told. */
async function pushes(url, page) {
  const encoder = pushTo(url, await prepared("sd"));
  try {
    const { id } = await onAir();
    assert.equal(page, `${scene.stack.baseUrl}/live/${id}`);
  } catch (error) {
    throw new Error(`${error.message}; the encoder: ${encoder.tail()}`, { cause: error });
  } finally {
    encoder.child.kill("SIGINT");
    await encoder.exited;
  }
  await offAir();
}

test("what OBS is to be told is shown, and an encoder that does so is on the air", async () => {
  const said = await broadcast("run", "--rm", "--no-deps", "broadcaster", "obs");
  const page = said.match(/^Then watch (\S+)$/m)?.[1];
  const server = entered(said, "RTMP +Server");
  const key = entered(said, "Stream Key");
  assert.ok(server && key && page, said);
  await pushes(`${server}/${key}`, page);
  await pushes(entered(said, "SRT +Server"), page);
});

test("a visitor finds the test picture on the first page", async (t) => {
  await broadcast("up", "--detach", "--wait");
  await onAir();
  const { page, player, close } = await openPage(browser, scene.stack.baseUrl);
  try {
    const card = page.getByTestId("live-card").filter({ hasText: "demo" });
    await card.waitFor({ timeout: 15_000 });
    await card.click();
    await player.playsOn();
    assert.deepEqual(await player.qualities(), ["Auto", "720p", "480p", "360p"]);
    const found = await colours(page);
    assert.ok(found >= LEAST_COLOURS, `${found} colours`);
    assert.ok((await player.video()).audioBytes > 0, "there is sound");

    await t.test("and again when its encoder ended, without a reload", async () => {
      const restarts = async () => (await own.inspect("broadcaster")).RestartCount;
      const [before, restartsBefore] = [await player.time(), await restarts()];
      await own.exec("broadcaster", "sh", "-c", "kill 1");
      await until(
        "it was started again",
        ON_AIR_MS,
        async () => (await restarts()) > restartsBefore,
      );
      await onAir();
      await player.wentOnSince(before, ON_AIR_MS);
    });
  } catch (error) {
    t.diagnostic(`screenshot: ${await screenshot(page, "compose-broadcast")}`);
    throw error;
  } finally {
    await close();
  }
});
