/** Redis by its own command line tool, as an operator would use it. */

import { run } from "./process.mjs";

/** Runs one command and returns its answer; `""` where Redis answers nil. */
export async function redisCli(url, ...command) {
  return (await run("redis-cli", ["-u", url, "--no-auth-warning", ...command])).trim();
}
