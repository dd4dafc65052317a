/** Which stream a URL is for, known without the router, which is in code that comes later. */

/** The id in `/live/{id}`, `null` for any other path. */
export function watchedId(pathname: string): string | null {
  const encoded = /^\/live\/([^/]+)\/?$/.exec(pathname)?.[1];
  try {
    return encoded ? decodeURIComponent(encoded) : null;
  } catch {
    // A stray percent sign; the router knows what to say to it.
    return null;
  }
}
