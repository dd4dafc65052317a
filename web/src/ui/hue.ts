/**
 * A hue for an id: the same id has the same colour everywhere. From teal over blue and violet to
 * red; dark yellows and greens look like mud.
 */
export function hueOf(id: string): number {
  let hash = 0;
  for (const char of id) {
    hash = (Math.imul(hash, 31) + (char.codePointAt(0) ?? 0)) >>> 0;
  }
  // Ids made one after the other differ in few bits: spread them (Knuth's multiplicative hash).
  return 190 + ((Math.imul(hash, 2_654_435_761) >>> 0) % 190);
}
