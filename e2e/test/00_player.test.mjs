/**
 * The page and its player in a real browser, against a stand-in for the platform whose troubles
 * can be switched on and off. No stack is needed; `web/dist` must be built.
 */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launchBrowser, openPage, screenshot } from "../lib/browser.mjs";
import { FakeLive } from "../lib/fake-live.mjs";
import { prepareLadder } from "../lib/ladder.mjs";
import { webDist } from "../lib/paths.mjs";
import { sleep, until } from "../lib/wait.mjs";

/** Tests here wait far more than they work, and each has its own stand-in. */
const AT_ONCE = { concurrency: 3 };

let ladder;
let browser;

before(async () => {
  ladder = await prepareLadder();
  browser = await launchBrowser();
});
after(() => browser?.close());

/**
 * Runs `body` on a page of a fresh stand-in, and leaves a picture of it when it fails.
 *
 * @param {{path?: (live: FakeLive) => string, arrange?: (live: FakeLive) => void, width?: number, height?: number}} setting
 */
async function onPage(t, { path = () => "/", arrange, ...size }, body) {
  const live = await new FakeLive(ladder, webDist).listen();
  arrange?.(live);
  const opened = await openPage(browser, live.url + path(live), size);
  try {
    await body({ ...opened, live });
    assert.deepEqual(
      opened.log.filter((line) => line.startsWith("page error")),
      [],
    );
  } catch (error) {
    const file = await screenshot(opened.page, t.name.replaceAll(/\W+/g, "-"));
    t.diagnostic(`screenshot: ${file}`);
    throw error;
  } finally {
    await opened.close();
    await live.close();
  }
}

const watch = (t, setting, body) =>
  onPage(t, { path: (live) => `/live/${live.stream.id}`, ...setting }, body);

describe("the player", AT_ONCE, () => {
  test("plays, says who is on, and offers Auto and every rung", (t) =>
    watch(t, {}, async ({ live, page, player }) => {
      await player.playsOn();
      assert.deepEqual(await player.qualities(), ["Auto", "1080p", "720p", "480p", "360p"]);
      assert.equal(await page.getByTestId("stream-title").innerText(), live.stream.title);
      assert.equal(await page.getByTestId("username").innerText(), "mira");
      assert.equal(await page.getByTestId("status").innerText(), "LIVE");
    }));

  test("shows the chosen rung within five seconds, and Auto gives the choice back", (t) =>
    watch(t, {}, async ({ page, player }) => {
      await player.playsOn();
      await player.choose("360p");
      await player.showsLines(360);
      assert.equal(await page.getByTestId("player").getAttribute("data-chosen"), "360p");
      await player.choose("Auto");
      assert.equal(await page.getByTestId("player").getAttribute("data-chosen"), "auto");
    }));

  test("goes back in time, stays there, and returns to live by its button", (t) =>
    watch(t, {}, async ({ page, player }) => {
      const joined = await player.playsOn();
      for (let i = 0; i < 4; i += 1) {
        await page.keyboard.press("j");
      }
      await until(
        "the picture is 40 s older",
        3_000,
        async () => (await player.time()) < joined - 30,
      );
      await player.playsOn(5_000);
      const past = await player.time();
      assert.ok(past < joined - 25, `${past} is in the past of ${joined}`);
      assert.ok((await player.latency()) > 35, "the delay tells");

      await player.wake();
      const button = page.getByTestId("live-button");
      assert.equal(await button.getAttribute("data-at-live"), "false");
      await button.click();
      await until(
        "the picture is live again",
        5_000,
        async () => (await button.getAttribute("data-at-live")) === "true",
      );
      await player.playsOn(5_000);
      assert.ok((await player.latency()) < 12, `${await player.latency()} s behind`);
    }));

  test("obeys the keyboard, except while one types", (t) =>
    watch(t, {}, async ({ page, player }) => {
      await player.playsOn();
      await page.keyboard.press("Space");
      await until("it is paused", 2_000, async () => (await player.video()).paused);

      const jump = async (key) => {
        const before = await player.time();
        await page.keyboard.press(key);
        await sleep(400);
        return Math.round((await player.time()) - before);
      };
      assert.equal(await jump("j"), -10);
      assert.equal(await jump("ArrowLeft"), -5);
      assert.equal(await jump("ArrowRight"), 5);
      assert.equal(await jump("l"), 10);

      await page.evaluate(() => {
        document.body.append(document.createElement("input"));
        document.querySelector("input").focus();
      });
      assert.equal(await jump("j"), 0);
      await page.keyboard.press("Space");
      assert.equal((await player.video()).paused, true);
    }));

  test("is counted while it plays, and not while it is paused", (t) => {
    const arrange = (live) => {
      live.stream.viewer_count = 0;
      live.gone = true;
    };
    return watch(t, { arrange }, async ({ live, page, player }) => {
      const asked = (path) => live.requests.filter((it) => it === path).length;
      const stream = `/api/streams/${live.stream.id}`;
      const beat = `${stream}/viewers`;
      let shownAtFirst = null;
      live.before = async (path) => {
        if (path === beat) {
          shownAtFirst ??= await player.time();
        }
      };
      const counts = (count, withinMs) =>
        until(`the page counts ${count}`, withinMs, async () => {
          const shown = await page.getByTestId("viewers").innerText();
          return live.viewers.count === count && shown === String(count);
        });

      await until("the page has been there for two polls", 20_000, () => asked(stream) > 2);
      assert.equal(asked(beat), 0, "nobody watches yet");
      live.gone = false;
      await player.playsOn();
      await counts(1, 25_000);
      assert.ok(shownAtFirst > 0, `the first beat came with the picture at ${shownAtFirst} s`);

      await page.keyboard.press("Space");
      await until("it is paused", 2_000, async () => (await player.video()).paused);
      await counts(0, 40_000);

      await page.keyboard.press("Space");
      await counts(1, 15_000);
      assert.equal(live.viewers.issued, 1, "the same viewer");
    });
  });

  test("plays the plain playlists where the low-latency edge does not answer", (t) =>
    watch(
      t,
      { arrange: (live) => (live.stream.ll_hls_url = `${live.url}/stream/gone/master.m3u8`) },
      async ({ page, player }) => {
        await player.playsOn();
        assert.equal(await page.getByTestId("player").getAttribute("data-source"), "plain");
        assert.deepEqual(await player.qualities(), ["Auto", "1080p", "720p", "480p", "360p"]);
      },
    ));

  test("says that it reconnects while the broadcaster is away, and goes on without a reload", (t) =>
    watch(t, {}, async ({ live, page, player }) => {
      await player.playsOn();
      live.stall();
      await page.getByTestId("reconnecting").waitFor({ timeout: 25_000 });
      const stopped = await player.time();
      live.resume();
      await page.getByTestId("reconnecting").waitFor({ state: "detached", timeout: 15_000 });
      const resumed = await player.playsOn();
      assert.ok(resumed >= stopped, "nothing is shown twice");
      assert.equal((await player.video()).rate, 1);
      assert.ok(await player.neverReloaded());
    }));

  test("comes through playlists that are gone for a while", (t) =>
    watch(t, {}, async ({ live, page, player }) => {
      await player.playsOn();
      live.gone = true;
      await page.getByTestId("reconnecting").waitFor({ timeout: 25_000 });
      live.gone = false;
      await page.getByTestId("reconnecting").waitFor({ state: "detached", timeout: 15_000 });
      await player.playsOn();
      assert.ok(await player.neverReloaded());
    }));

  test("goes on by itself past what the browser cannot decode", (t) =>
    watch(t, {}, async ({ live, page, player }) => {
      await player.playsOn();
      await page.evaluate(() => {
        const video = document.querySelector("video");
        const note = () => {
          window.decoderFailed = video.error?.code === MediaError.MEDIA_ERR_DECODE;
        };
        // Before the player, which begins anew at once.
        video.addEventListener("error", note, { capture: true });
      });
      live.undecodable = live.newest + 2;
      await until("the decoder gives up", 20_000, () => page.evaluate(() => window.decoderFailed));
      await player.playsOn(15_000);
      assert.equal(await player.phase(), "playing");
      assert.ok(await player.neverReloaded());
    }));

  test("goes on by itself where hls.js learns of that before the page does", (t) =>
    watch(t, {}, async ({ live, page, player }) => {
      await player.playsOn();
      await page.evaluate(() => {
        // hls.js then finds the failure when it has the next segment to give.
        const withhold = (event) => {
          window.decoderFailed = true;
          window.removeEventListener("error", withhold, { capture: true });
          event.stopImmediatePropagation();
        };
        window.addEventListener("error", withhold, { capture: true });
      });
      live.undecodable = live.newest + 2;
      await until("the decoder gives up", 20_000, () => page.evaluate(() => window.decoderFailed));
      await player.playsOn(25_000);
      assert.equal(await player.phase(), "playing");
      assert.ok(await player.neverReloaded());
    }));

  test("waits for a stream whose playlist is not there yet", (t) =>
    watch(t, { arrange: (live) => (live.gone = true) }, async ({ live, player }) => {
      await until("the player tries", 5_000, async () => (await player.phase()) === "connecting");
      await sleep(3_000);
      live.gone = false;
      await player.playsOn();
    }));

  test("shows the last frame before it says that the broadcast has ended", (t) =>
    watch(t, {}, async ({ live, page, player }) => {
      await player.playsOn();
      live.end();
      live.stream.status = "active";
      await page.getByTestId("ended").waitFor({ timeout: 25_000 });
      const { time } = await player.video();
      const [, end] = await player.seekable();
      assert.ok(end - time < 0.5, `stopped ${end - time} s before the end`);
    }));

  test("keeps playing while the API is away", (t) =>
    watch(t, {}, async ({ live, page, player }) => {
      await player.playsOn();
      live.apiDown = true;
      await page.getByText("Details may be out of date").waitFor({ timeout: 20_000 });
      await player.playsOn(1_000);
      assert.equal(await player.phase(), "playing");
    }));

  test("shows a broadcast that begins while one waits on its page", (t) =>
    watch(
      t,
      { arrange: (live) => (live.stream.status = "active") },
      async ({ live, page, player }) => {
        await page.getByTestId("offline").waitFor();
        live.stream.status = "live";
        await player.playsOn();
        assert.ok(await player.neverReloaded());
      },
    ));

  test("fits a phone", (t) =>
    watch(t, { width: 360, height: 740 }, async ({ page, player }) => {
      await player.playsOn();
      await player.openQualities();
      const [wide, window] = await page.evaluate(() => [
        document.documentElement.scrollWidth,
        innerWidth,
      ]);
      assert.ok(wide <= window, `${wide} px of content in ${window}`);
    }));

  test("is named and operable for assistive technology", (t) =>
    watch(t, {}, async ({ page, player }) => {
      await player.playsOn();
      await player.wake();
      const nameless = await page.evaluate(() => {
        const visible = (el) => el.checkVisibility({ visibilityProperty: true });
        const name = (el) =>
          (
            el.getAttribute("aria-label") ??
            document.getElementById(el.getAttribute("aria-labelledby"))?.textContent ??
            el.innerText
          )?.trim() || el.title;
        return [...document.querySelectorAll("button, a[href], [role=slider], [role=button]")]
          .filter((el) => visible(el) && !name(el))
          .map((el) => el.outerHTML.slice(0, 120));
      });
      assert.deepEqual(nameless, []);
      await page.getByRole("button", { name: "Quality" }).focus();
      await page.keyboard.press("Enter");
      await page.keyboard.press("ArrowDown");
      await page.getByRole("menuitemradio", { name: "1080p" }).waitFor();
      assert.equal(await page.locator("h1").count(), 1);
    }));
});

/** Code by the names that the build gives it. */
const ENTRY = /^\/assets\/index-.*\.js$/;
const PAGE = /^\/assets\/app-.*\.js$/;
const SCREEN = /^\/assets\/screen-.*\.js$/;
const CONTROLS = /^\/assets\/add-controls-.*\.js$/;

describe("the way to the first picture", AT_ONCE, () => {
  const asked = (live, path) =>
    until(`${path} is asked for`, 5_000, () => live.requests.some((it) => path.test(it)));
  const ofStream = (live) => new RegExp(`^/api/streams/${live.stream.id}$`);

  test("asks for the stream and for the code that plays it before any code has come, and for each once", (t) =>
    watch(
      t,
      {
        arrange: (live) => {
          live.before = async (path) => {
            if (ENTRY.test(path)) {
              await asked(live, SCREEN);
              await asked(live, ofStream(live));
            }
          };
        },
      },
      async ({ live, player }) => {
        await player.playsOn();
        // After the master the page asks for the stream as often as any page does.
        const first = live.requests.findIndex((path) => path.endsWith("master.m3u8"));
        const before = live.requests.slice(0, first);
        for (const once of [SCREEN, ENTRY, ofStream(live)]) {
          const times = before.filter((path) => once.test(path)).length;
          assert.equal(times, 1, `${once} in ${before}`);
        }
      },
    ));

  test("plays before the page's own code has come", (t) =>
    watch(
      t,
      {
        arrange: (live) => {
          live.before = (path) => PAGE.test(path) && asked(live, /\.ts$/);
        },
      },
      ({ player }) => player.playsOn(),
    ));

  test("shows the picture before its controls, and with the browser's own where those do not come", (t) =>
    watch(
      t,
      {
        arrange: (live) => {
          live.before = async (path) => {
            if (CONTROLS.test(path)) {
              assert.ok(
                live.requests.some((it) => it.endsWith(".ts")),
                "the media came first",
              );
              throw new Error("gone");
            }
          };
        },
      },
      async ({ page, player }) => {
        await player.playsOn();
        await until("there are controls", 5_000, () =>
          page.evaluate(() => document.querySelector("video").controls),
        );
        assert.equal(await player.phase(), "playing");
      },
    ));
});

describe("the list", AT_ONCE, () => {
  test("shows what is live and leads to it, and leaves the code that plays until then", (t) =>
    onPage(t, {}, async ({ live, page, player }) => {
      await page.getByTestId("live-card").waitFor();
      assert.ok(!live.requests.some((path) => SCREEN.test(path)), `${live.requests}`);
      await page.getByTestId("live-card").click();
      await page.waitForURL(`**/live/${live.stream.id}`);
      await player.playsOn();
    }));

  test("tells how to go live when nobody is, and shows who starts", (t) =>
    onPage(t, { arrange: (live) => (live.stream.status = "offline") }, async ({ live, page }) => {
      await page.getByTestId("live-empty").waitFor();
      live.stream.status = "live";
      await page.getByTestId("live-card").waitFor({ timeout: 10_000 });
    }));

  test("says so when the API is away, and tries again when asked", (t) =>
    onPage(t, { arrange: (live) => (live.apiDown = true) }, async ({ live, page }) => {
      await page.getByTestId("live-error").waitFor();
      live.apiDown = false;
      await page.getByRole("button", { name: "Try again" }).click();
      await page.getByTestId("live-card").waitFor({ timeout: 3_000 });
    }));

  test("fits a phone", (t) =>
    onPage(t, { width: 360, height: 740 }, async ({ page }) => {
      await page.getByTestId("live-card").waitFor();
      assert.ok(
        await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
        "no sideways scrolling",
      );
    }));

  test("a link to nowhere says so", (t) =>
    onPage(t, { path: () => "/live/00000000-0000-7000-8000-000000000000" }, async ({ page }) => {
      await page.getByTestId("not-found").waitFor();
    }));
});
