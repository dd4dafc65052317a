import assert from "node:assert/strict";
import { test } from "node:test";
import { ComposeServers } from "../lib/compose-servers.mjs";
import { LocalServers } from "../lib/local-servers.mjs";
import { srtTarget } from "../lib/publisher.mjs";
import { sumOf } from "../lib/stack.mjs";
import { until } from "../lib/wait.mjs";

test("a metric is summed over its label sets, and picked by label", () => {
  const text =
    '# HELP x\nrefused_total{reason="a"} 2\nrefused_total{reason="b"} 3\nother 9\nplain 1.5\n';
  assert.equal(sumOf(text, "refused_total"), 5);
  assert.equal(sumOf(text, "refused_total", { reason: "b" }), 3);
  assert.equal(sumOf(text, "plain"), 1.5);
  assert.equal(sumOf(text, "absent"), 0);
});

test("an SRT address keeps host and port and carries the key as streamid", () => {
  assert.match(
    srtTarget("srt://127.0.0.1:8890", "KEY"),
    /^srt:\/\/127\.0\.0\.1:8890\?.*streamid=publish:KEY/,
  );
});

test("waiting ends with what was awaited, or names it at the deadline", async () => {
  let asked = 0;
  assert.equal(await until("three", 1_000, () => (++asked === 3 ? "here" : null), 1), "here");
  await assert.rejects(
    until("the moon", 20, () => Promise.reject(new Error("clouds")), 5),
    /not within 0.02 s: the moon \(clouds\)/,
  );
});

test("whatever tests ask of a stack's servers, both kinds of stack can do", () => {
  const operations = (kind) => Object.getOwnPropertyNames(kind.prototype).sort();
  assert.deepEqual(operations(ComposeServers), operations(LocalServers));
});
