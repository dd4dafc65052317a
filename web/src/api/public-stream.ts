/**
 * A stream as anybody may see it (docs/API.md, "stream"). Free of the query library: the page's first
 * code asks for one before anything else has come.
 */

import { getJson } from "./http";

/** Never with its key. */
export interface PublicStream {
  id: string;
  title: string | null;
  /** `null` while the user database is away. */
  username: string | null;
  status: string;
  viewer_count?: number | null;
  /** Rung names, highest first; `["audio"]` without video. */
  available_qualities?: string[] | null;
  thumbnail_url?: string | null;
  started_at?: string | null;
  hls_url?: string | null;
  ll_hls_url?: string | null;
}

/** Whether there is something to watch: `reconnecting` keeps its playlist and its viewers. */
export function isOnAir(stream: PublicStream): boolean {
  return stream.status === "live" || stream.status === "reconnecting";
}

/** A title to show, also for a broadcaster who gave none. */
export function titleOf(stream: PublicStream): string {
  return stream.title?.trim() || "Untitled broadcast";
}

export function getStream(id: string, signal?: AbortSignal): Promise<PublicStream> {
  return getJson<PublicStream>(`/api/streams/${encodeURIComponent(id)}`, signal);
}

let first: { id: string; answer: Promise<PublicStream> } | null = null;

/** Asks for the stream that the page was opened for; see `getStreamOnce`. */
export function askFirst(id: string): Promise<PublicStream> {
  first = { id, answer: getStream(id) };
  return first.answer;
}

/** The answer to `askFirst`, for one who asks for the same; every further one gets an answer of its own. */
export function getStreamOnce(id: string, signal: AbortSignal): Promise<PublicStream> {
  const asked = first;
  first = null;
  return asked?.id === id ? asked.answer : getStream(id, signal);
}
