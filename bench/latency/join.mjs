/** One viewer: opens the page, is timed until the first frame, settles, and is watched. */

import { PlayerPage } from "../../e2e/lib/browser.mjs";
import { readClock } from "../../e2e/lib/painted-clock.mjs";
import { sleep, until } from "../../e2e/lib/wait.mjs";
import { fixed } from "../live/text.mjs";
import { quantile } from "./quantile.mjs";

/** What is measured begins so long after the page was opened. */
const SETTLE_MS = 10_000;
const FIRST_FRAME_MS = 20_000;

export async function join({ browser, url, source, rung, seconds, say }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  try {
    const page = await context.newPage();
    if (source === "plain") {
      await page.route("**/api/streams/**", withoutEdge);
    }
    await page.addInitScript(noteFirstFrame);
    const opened = performance.now();
    await page.goto(url);
    const first = await until("a first frame", FIRST_FRAME_MS, () =>
      page.evaluate(() => window.firstFrame),
    );
    const player = new PlayerPage(page);
    const plays = await page.getByTestId("player").getAttribute("data-source");
    if (plays !== source) {
      throw new Error(`the page plays the ${plays} source instead of the ${source} one`);
    }
    await player.choose(rung.name);
    await player.showsLines(rung.lines, SETTLE_MS);
    await sleep(SETTLE_MS - (performance.now() - opened));
    const { samples, unread, waits } = await readClock(page, seconds * 1000);
    const latencies = samples.filter(({ lines }) => lines === rung.lines);
    const ms = latencies.map(({ latencyMs }) => latencyMs);
    say(
      `${source}, ${rung.name}: first frame ${fixed(first.sinceOpen / 1000)} s, ` +
        `p50 ${fixed(quantile(ms, 0.5) / 1000)} s, p95 ${fixed(quantile(ms, 0.95) / 1000)} s, ` +
        `${ms.length} frames, ${unread} unread, ${waits} stalls`,
    );
    return { source, rung, first, samples: latencies, unread, waits };
  } finally {
    await context.close();
  }
}

/** The stream as it is without a low-latency edge. */
async function withoutEdge(route) {
  const response = await route.fetch();
  const stream = await response.json().catch(() => null);
  await route.fulfill({ response, json: stream && { ...stream, ll_hls_url: null } });
}

/** Runs in the page, before its own scripts: times are from the opening of the page. */
function noteFirstFrame() {
  const seen = new MutationObserver(() => {
    const video = document.querySelector("video");
    if (video) {
      seen.disconnect();
      const playerAt = performance.now();
      video.requestVideoFrameCallback((now) => {
        window.firstFrame = { sinceOpen: now, sincePlayer: now - playerAt };
      });
    }
  });
  seen.observe(document, { childList: true, subtree: true });
}
