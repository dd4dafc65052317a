/** How many requests a second for the public list of streams are answered, one after the other. */

import { fixed, median, spread, table } from "../live/text.mjs";
import { requests } from "./load.mjs";

const PATH = "/api/streams/public";
const CONNECTIONS = 32;
const GOAL = 3_000;

/** Direct and through the gateway in turn; the section of the results. */
export async function list({ direct, gateway, streams, seconds, rounds, say }) {
  const ways = { "stream service": direct("stream"), "through the gateway": gateway };
  const seen = Object.fromEntries(Object.keys(ways).map((way) => [way, []]));
  for (let round = 1; round <= rounds; round += 1) {
    for (const [way, url] of Object.entries(ways)) {
      const report = await requests({ url: url + PATH, connections: CONNECTIONS, seconds });
      seen[way].push(report.requests_per_s);
      say(`${way}, round ${round}: ${fixed(report.requests_per_s, 0)} requests/s`);
    }
  }
  return [
    `\`GET ${PATH}\`, ${streams} streams in it, ${CONNECTIONS} connections, ${rounds} rounds of ${seconds} s in turn; ` +
      "the load generator runs on the same cores. No rate limits.",
    "",
    table(
      ["requests/s", "median", "min – max"],
      Object.entries(seen).map(([way, rates]) => [way, fixed(median(rates), 0), spread(rates, 0)]),
    ),
    "",
    `Goal: at least ${GOAL} requests/s of the stream service.`,
  ].join("\n");
}
