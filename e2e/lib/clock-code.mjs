/**
 * The wall clock as blocks of light along the top of a picture: written by the source, read back
 * from what a browser shows. Big enough to survive a 360p rung, checked so that a misread counts as none.
 *
 * Layout, left to right: white, black (to calibrate), 24 bits of milliseconds, 6 bits of check sum.
 */

export const BLOCKS = 32;
const TIME_BITS = 24;
const CHECK_BITS = 6;
/** The code repeats after this many milliseconds (4.6 h). */
export const PERIOD_MS = 2 ** TIME_BITS;

/** Height of the strip as a share of the picture's. */
export const STRIP_SHARE = 1 / 15;

/** Gray code: neighbouring moments differ in one block, so a blend of two frames is off by one. */
const gray = (value) => value ^ (value >>> 1);

function ungray(code) {
  let value = code;
  for (let shift = 1; shift < TIME_BITS; shift *= 2) {
    value ^= value >>> shift;
  }
  return value;
}

function checkSum(code) {
  let sum = 0x2a;
  for (let rest = code; rest > 0; rest >>>= CHECK_BITS) {
    sum = (sum * 5 + (rest & 63) + 1) & 63;
  }
  return sum;
}

/** The blocks of a moment (unix ms), each lit or not. */
export function blocksOf(unixMs) {
  const code = gray(unixMs % PERIOD_MS);
  const bits = (value, count) =>
    Array.from({ length: count }, (_, i) => ((value >>> (count - 1 - i)) & 1) === 1);
  return [true, false, ...bits(code, TIME_BITS), ...bits(checkSum(code), CHECK_BITS)];
}

/**
 * The moment that blocks of such brightness (0..255) tell, in ms within the period; `null` where
 * they are no such code.
 */
export function momentOf(brightness) {
  const [white, black, ...rest] = brightness;
  if (brightness.length !== BLOCKS || white - black < 80) {
    return null;
  }
  const middle = (white + black) / 2;
  const number = (levels) =>
    levels.reduce((value, level) => value * 2 + (level > middle ? 1 : 0), 0);
  const code = number(rest.slice(0, TIME_BITS));
  return number(rest.slice(TIME_BITS)) === checkSum(code) ? ungray(code) : null;
}

/** How long ago (ms) a moment within the period was at `unixMs`. */
export function ageOf(moment, unixMs) {
  return (((unixMs - moment) % PERIOD_MS) + PERIOD_MS) % PERIOD_MS;
}
