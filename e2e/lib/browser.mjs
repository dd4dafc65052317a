/** Debian's Chromium, driven by playwright-core, and what is asked of Marquee's player in it. */

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { chromium } from "playwright-core";
import { artifactDir } from "./paths.mjs";
import { sleep, until } from "./wait.mjs";

/** The background services' connections would only fail slowly on a closed network. */
const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
  "--mute-audio",
];

export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ARGS,
  });
}

/** Answers to a player that a failed run shows. */
const KEPT_LISTS = 12;

/** A page that remembers what went wrong on it, and the playlists it got last. */
export async function openPage(browser, url, { width = 1280, height = 800 } = {}) {
  const context = await browser.newContext({ viewport: { width, height } });
  const page = await context.newPage();
  const log = [];
  page.on("pageerror", (error) => log.push(`page error: ${error.stack ?? error}`));
  page.on("console", (message) => {
    if (message.type() === "error") {
      log.push(`console: ${message.text()}`);
    }
  });
  const lists = [];
  page.on("response", (response) => {
    if (response.url().includes(".m3u8")) {
      lists.push(`${new Date().toISOString()} ${response.status()} ${response.url()}`);
      lists.splice(0, lists.length - KEPT_LISTS);
    }
  });
  // Survives nothing but a reload, and so tells of one.
  await page.goto(url);
  await page.evaluate(() => {
    window.neverReloaded = true;
  });
  return { page, log, lists, player: new PlayerPage(page), close: () => context.close() };
}

/** Saves what a page shows, for whoever reads a failed run. */
export async function screenshot(page, name) {
  await mkdir(artifactDir, { recursive: true });
  const file = path.join(artifactDir, `${name}.png`);
  await page.screenshot({ path: file });
  return file;
}

/** The watch page as a viewer uses it. */
export class PlayerPage {
  constructor(page) {
    this.page = page;
  }

  video() {
    return this.page.evaluate(() => {
      const video = document.querySelector("video");
      return video
        ? {
            time: video.currentTime,
            width: video.videoWidth,
            height: video.videoHeight,
            paused: video.paused,
            rate: video.playbackRate,
            readyState: video.readyState,
            bufferedTo: video.buffered.length ? video.buffered.end(video.buffered.length - 1) : 0,
            audioBytes: video.webkitAudioDecodedByteCount ?? 0,
          }
        : null;
    });
  }

  async time() {
    return (await this.video())?.time ?? 0;
  }

  /** What the player does, for whoever reads a failed run. */
  async describe() {
    const player = await this.page.evaluate(() => ({
      ...document.querySelector("[data-testid='player']")?.dataset,
    }));
    return JSON.stringify({ ...player, ...(await this.video()) });
  }

  phase() {
    return this.page.getByTestId("player").getAttribute("data-phase");
  }

  /** Waits for moving pictures: `seconds - 0.5` of media in `seconds` of real time. */
  playsOn(withinMs = 20_000, seconds = 3) {
    return until(
      `playback advances ${seconds - 0.5} s in ${seconds} s`,
      withinMs + seconds * 1000,
      async () => {
        const before = await this.time();
        if (before === 0) {
          return false;
        }
        await sleep(seconds * 1000);
        const after = await this.time();
        return after - before >= seconds - 0.5 ? after : false;
      },
    );
  }

  /** From now on notes each of the live's two addresses that plays; see `sources`. */
  watchSources() {
    return this.page.evaluate(() => {
      const player = document.querySelector("[data-testid='player']");
      window.sources = [player.dataset.source];
      new MutationObserver(() => window.sources.push(player.dataset.source)).observe(player, {
        attributeFilter: ["data-source"],
      });
    });
  }

  /** What has played since `watchSources`, in order: `low-latency` or `plain`. */
  sources() {
    return this.page.evaluate(() => window.sources);
  }

  neverReloaded() {
    return this.page.evaluate(() => window.neverReloaded === true);
  }

  /** The same playback has gone on since `before`: no reload, nothing anew, pictures moving. */
  async wentOnSince(before, withinMs = 20_000) {
    const after = await this.playsOn(withinMs);
    assert.ok(after > before, `playback went from ${before} to ${after}`);
    assert.ok(await this.neverReloaded(), "the page was not reloaded");
    return after;
  }

  /** Moves the pointer over the picture, which shows the controls. */
  async wake() {
    const box = await this.page.getByTestId("player").boundingBox();
    await this.page.mouse.move(box.x + box.width / 2, box.y + box.height / 3);
    await this.page.mouse.move(box.x + box.width / 2 + 5, box.y + box.height / 3 + 5);
  }

  async openQualities() {
    await this.wake();
    const menu = this.page.getByTestId("quality-menu");
    if ((await menu.getByTestId("quality-button").getAttribute("aria-expanded")) !== "true") {
      await menu.getByTestId("quality-button").click();
    }
  }

  /** What the quality menu offers, top to bottom. */
  async qualities() {
    await this.openQualities();
    const items = this.page.locator("[data-testid='quality-menu'] .vjs-menu-item-text");
    return (await items.allInnerTexts()).map((text) => text.trim());
  }

  async choose(name) {
    await this.openQualities();
    await this.page.getByTestId(`quality-${name.toLowerCase()}`).click();
  }

  /** Waits until the picture has `lines` lines. */
  showsLines(lines, withinMs = 5_000) {
    return until(
      `the picture has ${lines} lines`,
      withinMs,
      async () => (await this.video()).height === lines,
    );
  }

  latency() {
    return this.page
      .getByTestId("latency")
      .getAttribute("data-seconds")
      .then((text) => (text ? Number(text) : null));
  }

  seekable() {
    return this.page.evaluate(() => {
      const { seekable } = document.querySelector("video");
      return seekable.length ? [seekable.start(0), seekable.end(seekable.length - 1)] : null;
    });
  }
}
