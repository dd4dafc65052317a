import assert from "node:assert/strict";
import { test } from "node:test";
import { ageOf, blocksOf, momentOf, PERIOD_MS } from "../lib/clock-code.mjs";

const NOW = 1_795_000_123_456;
const shown = (unixMs, [dark, light] = [16, 235]) =>
  blocksOf(unixMs).map((lit) => (lit ? light : dark));

test("every moment is read back as it was written", () => {
  for (let i = 0; i < 20_000; i += 1) {
    const moment = NOW + i * 997;
    assert.equal(momentOf(shown(moment)), moment % PERIOD_MS);
  }
});

test("a dull picture is read as well as a bright one", () => {
  assert.equal(momentOf(shown(NOW, [60, 150])), NOW % PERIOD_MS);
});

test("a picture without the code is not read", () => {
  assert.equal(momentOf(Array(32).fill(120)), null);
  assert.equal(momentOf([]), null);
});

test("one wrong block is noticed", () => {
  for (let i = 2; i < 32; i += 1) {
    const levels = shown(NOW);
    levels[i] = 251 - levels[i];
    assert.equal(momentOf(levels), null, `block ${i}`);
  }
});

test("ages are counted across the period's end", () => {
  const late = Math.ceil(NOW / PERIOD_MS) * PERIOD_MS - 100;
  assert.equal(ageOf(late % PERIOD_MS, late + 700), 700);
});
