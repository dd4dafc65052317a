/** Containers that come back have other addresses; who talks to them must ask for the new ones. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchBrowser } from "../lib/browser.mjs";
import { docker } from "../lib/docker.mjs";
import { onWatchedLive, openScene } from "../lib/scene.mjs";
import { until } from "../lib/wait.mjs";
import { project } from "./project.mjs";

/** Whoever else connects to them, in the order in which they depend on each other. */
const CALLED = [
  ...["postgres", "redis", "kafka", "minio", "auth-service", "stream-service"],
  ...["transcoder", "proxy", "api-gateway"],
];
const MOST_PLACEHOLDERS = 20;
const WORKS_AGAIN_MS = 20_000;

const own = project();
let scene;
let browser;
const placeholders = [];

before(async () => {
  scene = await openScene();
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  await Promise.all(placeholders.map((id) => docker("rm", "--force", id)));
});

/** A container's address in each of its networks. */
async function addressesOf(service) {
  const { NetworkSettings: settings } = await own.inspect(service);
  return new Map(
    Object.entries(settings.Networks).map(([name, { IPAddress: address }]) => [name, address]),
  );
}

/** Starts containers that do nothing until one of them has that address. */
async function occupy(network, address, image) {
  for (let count = 0; count < MOST_PLACEHOLDERS; count += 1) {
    const run = ["run", "--detach", "--network", network, "--entrypoint", "sleep", image, "1000"];
    const id = (await docker(...run)).trim();
    placeholders.push(id);
    const format = `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`;
    if ((await docker("inspect", "--format", format, id)).trim() === address) {
      return;
    }
  }
  assert.fail(`${address} of ${network} is given to nobody`);
}

async function move(service, image) {
  const before = await addressesOf(service);
  const id = await own.container(service);
  await docker("stop", id);
  for (const [network, address] of before) {
    await occupy(network, address, image);
  }
  await docker("start", id);
  await own.healthy(service);
  for (const [network, address] of await addressesOf(service)) {
    assert.notEqual(address, before.get(network), `${service} in ${network}`);
  }
}

test("everything but nginx comes back at another address: the platform goes on as before", async (t) => {
  const { Config: config } = await own.inspect("redis");
  for (const service of CALLED) {
    await move(service, config.Image);
  }
  const { stack, api } = scene;
  await until("the API answers", WORKS_AGAIN_MS, async () => {
    const { ok } = await fetch(`${stack.baseUrl}/api/streams/public`);
    return ok;
  });
  await api.signIn(stack.user("demo"));
  const setting = { scene, input: "sd", rungs: ["480p", "360p"] };
  await onWatchedLive(t, setting, browser, async ({ live, page, player }) => {
    await live.goesOn(2);
    await until(
      "the low-latency edge is played",
      WORKS_AGAIN_MS,
      async () => (await page.getByTestId("player").getAttribute("data-source")) === "low-latency",
    );
    await player.playsOn();
  });
});
