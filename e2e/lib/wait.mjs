/** Waiting for conditions, always with a deadline. */

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Asks `probe` until it answers something truthy, and returns that.
 *
 * A throwing probe counts as "not yet"; its last error is the cause of the failure at the deadline.
 *
 * @param {string} what in words, for the failure: "the playlist lists 3 segments"
 * @param {number} withinMs
 * @param {() => unknown} probe
 */
export async function until(what, withinMs, probe, everyMs = 200) {
  const deadline = performance.now() + withinMs;
  let cause;
  let seen;
  for (;;) {
    try {
      seen = await probe();
      if (seen) {
        return seen;
      }
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) {
      throw new Error(
        `not within ${withinMs / 1000} s: ${what}${cause ? ` (${cause.message})` : ""}`,
        { cause },
      );
    }
    await sleep(everyMs);
  }
}
