/** A UDP relay before an SRT listener, that notes when the publisher's first media passes. */

import { createSocket } from "node:dgram";
import { once } from "node:events";

/** The bit that control packets have and data packets do not, in the first byte of a datagram. */
const CONTROL = 0x80;

/** Relays one caller to `srtUrl`; `.url` is where it calls, `.firstMedia` the time of its media. */
export async function relay(srtUrl) {
  const { hostname, port } = new URL(srtUrl.replace(/^srt:/, "http:"));
  const [inside, outside] = [createSocket("udp4"), createSocket("udp4")];
  outside.connect(Number(port), hostname);
  inside.bind(0, "127.0.0.1");
  await Promise.all([once(inside, "listening"), once(outside, "connect")]);
  let caller;
  let noted;
  const firstMedia = new Promise((resolve) => {
    noted = resolve;
  });
  inside.on("message", (datagram, from) => {
    caller = from;
    if (!(datagram[0] & CONTROL)) {
      noted(performance.now());
    }
    outside.send(datagram);
  });
  outside.on("message", (datagram) => inside.send(datagram, caller.port, caller.address));
  // A listener that goes away shows in what is measured.
  outside.on("error", () => {});
  return {
    url: `srt://127.0.0.1:${inside.address().port}`,
    firstMedia,
    close() {
      inside.close();
      outside.close();
    },
  };
}
