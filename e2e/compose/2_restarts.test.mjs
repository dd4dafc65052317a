/** Each container is restarted while somebody watches through nginx: what the viewer sees of it. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launchBrowser } from "../lib/browser.mjs";
import { docker } from "../lib/docker.mjs";
import { onWatchedLive, openScene } from "../lib/scene.mjs";
import { until } from "../lib/wait.mjs";
import { project } from "./project.mjs";

const RUNGS = ["480p", "360p"];
/** Between two looks at the picture, and so what a picture that moves may seem to stand. */
const LOOK_MS = 100;
const UNNOTICED_S = 1;

/**
 * How long the picture may stand, in seconds, by service; and whether the publisher is disconnected, whose encoder
 * connects again.
 *
 * The live goes from the transcoder's memory by the proxy and nginx to the viewer, so nothing else may be noticed.
 */
const RESTARTS = {
  postgres: { stands: UNNOTICED_S },
  redis: { stands: 4 },
  kafka: { stands: UNNOTICED_S },
  minio: { stands: UNNOTICED_S },
  "auth-service": { stands: UNNOTICED_S },
  "stream-service": { stands: UNNOTICED_S },
  "api-gateway": { stands: UNNOTICED_S },
  proxy: { stands: 6 },
  frontend: { stands: 12 },
  transcoder: { stands: 25, publisherLeaves: true },
};

const own = project();
let scene;
let browser;

before(async () => {
  scene = await openScene();
  browser = await launchBrowser();
});
after(() => browser?.close());

/** From now on measures the longest time in which the picture did not move. */
function watchMotion(page) {
  return page.evaluate((every) => {
    let seen = -1;
    let since = performance.now();
    window.stoodMs = 0;
    setInterval(() => {
      const time = document.querySelector("video")?.currentTime;
      const now = performance.now();
      if (time !== undefined && time !== seen) {
        seen = time;
        since = now;
      }
      window.stoodMs = Math.max(window.stoodMs, now - since);
    }, every);
  }, LOOK_MS);
}

const stood = async (page) => (await page.evaluate(() => window.stoodMs)) / 1000;

describe("a viewer's picture goes on without a reload when a container is restarted:", () => {
  test("every container of the platform is among them", async () => {
    const running = await docker(
      ...["ps", "--filter", `label=com.docker.compose.project=${own.name}`],
      ...["--format", '{{.Label "com.docker.compose.service"}}'],
    );
    // The second transcoder is the tests' own.
    const services = running
      .trim()
      .split("\n")
      .filter((name) => !/-\d$/.test(name));
    assert.deepEqual(services.sort(), Object.keys(RESTARTS).sort());
  });

  for (const [service, { stands, publisherLeaves = false }] of Object.entries(RESTARTS)) {
    test(service, (t) =>
      onWatchedLive(
        t,
        { scene, input: "sd", rungs: RUNGS },
        browser,
        async ({ live, page, player }) => {
          await watchMotion(page);
          const began = performance.now();
          await docker("restart", await own.container(service));
          await own.healthy(service);
          const took = (performance.now() - began) / 1000;
          if (publisherLeaves) {
            await until("the publisher is disconnected", 8_000, () => !live.publisher.running);
            await live.publish();
          }
          await live.goesOn(3, 40_000);
          await player.wentOnSince(await player.time(), 40_000);
          assert.equal(live.broadcasts().size, 1, "it is the same broadcast");
          assert.ok(live.publisher.running, "the publisher is on the air");
          const seconds = await stood(page);
          t.diagnostic(
            `summary: restart of ${service}, ${took.toFixed(1)} s: the picture stood ${seconds.toFixed(1)} s`,
          );
          assert.ok(seconds <= stands, `the picture stood ${seconds} s`);
        },
      ),
    );
  }
});
