/** What the gateway adds to a call at half the load that it can take. */

import { fixed, median, spread, table } from "../live/text.mjs";
import { requests } from "./load.mjs";

const PATH = "/api/streams/public";
const CONNECTIONS = 32;
const PERCENTILES = { p50: "p50_us", p90: "p90_us", p99: "p99_us", "p99.9": "p999_us" };

/** Direct and through the gateway in turn at one rate; the section of the results. */
export async function latency({ direct, gateway, streams, seconds, rounds, say }) {
  const most = await requests({ url: gateway + PATH, connections: CONNECTIONS, seconds });
  const rate = Math.round(most.requests_per_s / 2);
  say(`through the gateway at most ${fixed(most.requests_per_s, 0)} requests/s; half is ${rate}`);
  const call = (url) => requests({ url: url + PATH, connections: CONNECTIONS, seconds, rate });
  const pairs = [];
  for (let round = 1; round <= rounds; round += 1) {
    const pair = { direct: await call(direct("stream")), through: await call(gateway) };
    pairs.push(pair);
    say(
      `round ${round}: p99 ${ms(pair.direct.p99_us)} ms direct, ${ms(pair.through.p99_us)} ms through the gateway`,
    );
  }
  return report({ pairs, rate, most, streams, seconds });
}

const ms = (microseconds) => fixed(microseconds / 1000, 2);

function report({ pairs, rate, most, streams, seconds }) {
  const rows = Object.entries(PERCENTILES).map(([name, field]) => {
    const of = (way) => pairs.map((pair) => pair[way][field] / 1000);
    const added = pairs.map((pair) => (pair.through[field] - pair.direct[field]) / 1000);
    return [
      name,
      fixed(median(of("direct"))),
      fixed(median(of("through"))),
      fixed(median(added)),
      spread(added),
    ];
  });
  return [
    `\`GET ${PATH}\` (${streams} streams) at ${rate} requests/s, half of the ${fixed(most.requests_per_s, 0)} that go through the ` +
      `gateway at most, on ${CONNECTIONS} connections by a timetable: latency counts from when a request was due ` +
      `(docs/adr/0016). ${pairs.length} rounds of ${seconds} s, direct to the stream service and through the gateway in turn; ` +
      "the load generator and the service run on the same cores. No rate limits.",
    "",
    table(["ms", "direct", "through the gateway", "added", "min – max"], rows),
    "",
    "Medians of the rounds. Goal: at most 1 ms added to the p99.",
  ].join("\n");
}
