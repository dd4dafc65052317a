/** Logins a second, beside what bcrypt alone does on the same cores. */

import { fixed, median, percent, spread, table } from "../live/text.mjs";
import { bcrypt, requests } from "./load.mjs";

/** The auth service's cost (BCRYPT_COST's default). */
const COST = 12;
const ACCOUNTS = 8;

/** In turn; the section of the results. */
export async function login({ api, gateway, cores, seconds, rounds, say }) {
  const bodies = [];
  for (let count = 0; count < ACCOUNTS; count += 1) {
    const { username } = await api.broadcaster("login");
    bodies.push({ login: username, password: `correct horse ${username}` });
  }
  const alone = [];
  const logins = [];
  for (let round = 1; round <= rounds; round += 1) {
    alone.push(await bcrypt({ cost: COST, threads: cores, seconds }));
    const report = await requests({
      url: `${gateway}/api/auth/login`,
      // One is compared a core, one is on its way.
      connections: 2 * cores,
      seconds,
      bodies,
    });
    logins.push(report.requests_per_s);
    say(
      `round ${round}: bcrypt alone ${fixed(alone.at(-1))}/s, ${fixed(logins.at(-1))} logins/s`,
    );
  }
  const ratios = logins.map((rate, round) => rate / alone[round]);
  return [
    `\`POST /api/auth/login\` through the gateway, ${ACCOUNTS} accounts, ${2 * cores} connections, against bcrypt of the same cost ` +
      `(${COST}) alone on ${cores} threads; ${rounds} rounds of ${seconds} s in turn. No rate limits.`,
    "",
    table(
      ["a second", "median", "min – max"],
      [
        ["bcrypt alone", fixed(median(alone)), spread(alone)],
        ["logins", fixed(median(logins)), spread(logins)],
        ["logins of bcrypt alone", percent(median(ratios)), ratios.map(percent).join(", ")],
      ],
    ),
    "",
    "Goal: at least 90 % of what bcrypt alone does.",
  ].join("\n");
}
