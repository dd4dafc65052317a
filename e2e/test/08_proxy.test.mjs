/** Seed 000's own lines, with a server of the tests in place of its example addresses. */

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, test } from "node:test";
import { Api } from "../lib/api.mjs";
import { run } from "../lib/process.mjs";
import { Stack } from "../lib/stack.mjs";
import { sleep, until } from "../lib/wait.mjs";

/** So soon after redis-cli's answer a change has taken effect. */
const EFFECT_MS = 50;

let stack;
let first;
let second;

/** A server that says who it is and what it was asked. */
async function upstream(name) {
  const server = http.createServer((request, response) => {
    const { method, url, headers } = request;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ name, method, url, headers }));
  });
  return { server, address: await listening(server) };
}

/** Where the proxy finds a server of this process. */
async function listening(server) {
  const host = await stack.testsAddress();
  server.listen(0, host);
  await once(server, "listening");
  return `${host}:${server.address().port}`;
}

/** `redis-cli …`, as an operator types it. */
const redisCli = (...args) => stack.redis(...args);

/** `curl URL`: status and body. */
async function curl(url, ...args) {
  const text = await run("curl", ["-sS", ...args, "-w", "\n%{http_code}", url]);
  const [, body, status] = /^(.*)\n(\d+)$/s.exec(text);
  return { status: Number(status), body, json: body.startsWith("{") ? JSON.parse(body) : null };
}

before(async () => {
  stack = await Stack.open();
  first = await upstream("first");
  second = await upstream("second");
});
after(async () => {
  await redisCli("DEL", "streams:live001", "streams:mystream", "streams:bad", "streams:away");
  for (const { server } of [first, second]) {
    server.closeAllConnections();
    server.close();
  }
});

/** The proxy's three doors: its own, the gateway (the seed's port 8080), and nginx. */
const DOORS = {
  proxy: () => stack.facts.proxy_url,
  gateway: () => stack.gatewayUrl,
  nginx: () => stack.baseUrl,
};

for (const [door, url] of Object.entries(DOORS)) {
  test(`${door}: what redis-cli sets is where the next request goes`, async () => {
    await redisCli("DEL", "streams:live001");
    await sleep(EFFECT_MS);
    assert.equal((await curl(`${url()}/stream/live001`)).status, 404);

    assert.equal(await redisCli("SET", "streams:live001", first.address), "OK");
    await sleep(EFFECT_MS);
    const answer = await curl(`${url()}/stream/live001/720p/a.ts?x=1`);
    assert.equal(answer.status, 200);
    assert.equal(answer.json.name, "first");
    assert.equal(answer.json.url, "/stream/live001/720p/a.ts?x=1");
    assert.equal(answer.json.headers.host, first.address);
    assert.equal(`http://${answer.json.headers["x-forwarded-host"]}`, url());

    await redisCli("SET", "streams:live001", second.address);
    await sleep(EFFECT_MS);
    assert.equal((await curl(`${url()}/stream/live001`)).json.name, "second");

    assert.equal(await redisCli("DEL", "streams:live001"), "1");
    await sleep(EFFECT_MS);
    const gone = await curl(`${url()}/stream/live001`);
    assert.equal(gone.status, 404);
    assert.equal(gone.json.code, "stream_not_found");
  });

  test(`${door}: the seed's errors`, async () => {
    for (const path of ["/stream", "/stream/"]) {
      assert.equal((await curl(url() + path)).status, 400, path);
    }
    await redisCli("SET", "streams:bad", "invalid:format:here");
    await sleep(EFFECT_MS);
    assert.equal((await curl(`${url()}/stream/bad`)).status, 500);
  });
}

test("the seed's management lines", async () => {
  assert.equal(await redisCli("SET", "streams:mystream", first.address), "OK");
  assert.equal(await redisCli("GET", "streams:mystream"), first.address);
  assert.match(await redisCli("KEYS", "streams:*"), /streams:mystream/);
  assert.equal((await curl(`${stack.facts.proxy_url}/health`)).json.status, "healthy");
});

test("an admin reads and changes the table through nginx and gateway", async () => {
  const api = new Api(stack);
  const token = await api.signIn(stack.user("admin"));
  const path = "/api/proxy/routes/mystream";
  const body = { upstream: second.address };
  const set = await api.request("PUT", path, { token, body });
  assert.equal(set.status, 200, set.text);
  assert.equal(set.json.health.answers, true);
  assert.equal((await curl(`${stack.baseUrl}/stream/mystream`)).json.name, "second");
  const list = await curl(
    `${stack.baseUrl}/api/proxy/routes`,
    ...["-H", `Authorization: Bearer ${token}`],
  );
  assert.ok(list.json.items.some(({ stream_id }) => stream_id === "mystream"));
  assert.equal((await api.request("DELETE", path, { token })).status, 204);
  assert.equal((await api.request("GET", path)).status, 401);
});

test("nginx neither caches nor buffers what comes through", async () => {
  let answers = 0;
  const parts = http.createServer((request, response) => {
    answers += 1;
    response.writeHead(200, { "cache-control": "public, max-age=60" });
    response.write(`answer ${answers}`);
    if (!request.url.endsWith("/endless")) {
      response.end();
    }
  });
  await redisCli("SET", "streams:away", await listening(parts));
  await sleep(EFFECT_MS);
  const url = `${stack.baseUrl}/stream/away`;
  for (const expected of ["answer 1", "answer 2", "answer 3"]) {
    assert.equal((await curl(url)).body, expected, "complete and fit to be stored, yet asked anew");
  }
  const endless = await fetch(`${url}/endless`);
  const { value } = await endless.body.getReader().read();
  assert.equal(new TextDecoder().decode(value), "answer 4", "though the answer has not ended");
  parts.closeAllConnections();
  parts.close();
  assert.equal((await fetch(url)).status, 502, "with nobody there, nothing of before is served");
});

test("redis away: 500 in bounded time, and back by itself", async () => {
  await redisCli("SET", "streams:live001", first.address);
  await sleep(EFFECT_MS);
  const url = `${stack.facts.proxy_url}/stream/live001`;
  assert.equal((await curl(url)).status, 200);
  await stack.pause("redis");
  try {
    await until("the proxy notices", 10_000, async () => (await curl(url)).status === 500);
    const began = performance.now();
    assert.equal((await curl(url)).status, 500);
    assert.ok(performance.now() - began < 3_000);
  } finally {
    await stack.resume("redis");
  }
  await until("the proxy is back", 10_000, async () => (await curl(url)).status === 200);
});
