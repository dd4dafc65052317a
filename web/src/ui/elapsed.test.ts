import { expect, test } from "vitest";
import { elapsed } from "./elapsed";
import { hueOf } from "./hue";

const now = Date.parse("2026-11-21T12:00:00Z");

test("time on air is minutes and seconds, with hours once there are some", () => {
  expect(elapsed("2026-11-21T11:55:55Z", now)).toBe("4:05");
  expect(elapsed("2026-11-21T10:55:55Z", now)).toBe("1:04:05");
});

test("a start a little in the future, by another clock, is zero", () => {
  expect(elapsed("2026-11-21T12:00:02Z", now)).toBe("0:00");
});

test("no start, no time", () => {
  expect(elapsed(null, now)).toBeNull();
  expect(elapsed("yesterday", now)).toBeNull();
});

test("an id keeps its colour", () => {
  expect(hueOf("0190-a")).toBe(hueOf("0190-a"));
  expect(hueOf("0190-a")).not.toBe(hueOf("0190-b"));
});
