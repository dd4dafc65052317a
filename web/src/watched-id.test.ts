import { expect, test } from "vitest";
import { watchedId } from "./watched-id";

test("the id of a live's page is known from its path", () => {
  expect(watchedId("/live/0190aaaa-bbbb")).toBe("0190aaaa-bbbb");
  expect(watchedId("/live/0190aaaa-bbbb/")).toBe("0190aaaa-bbbb");
  expect(watchedId("/live/a%20b")).toBe("a b");
});

test("no other path has one", () => {
  for (const path of ["/", "/live", "/live/", "/live/a/b", "/lives/a", "/x/live/a", "/live/%"]) {
    expect(watchedId(path), path).toBeNull();
  }
});
