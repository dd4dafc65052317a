/** `/live/{id}`: one stream, playing. */

import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useParams } from "react-router";
import { Heartbeat } from "../api/heartbeat";
import { isOnAir, type PublicStream, titleOf } from "../api/public-stream";
import { isNotFound, streamById, worthTelling } from "../api/streams";
import { LivePlayer } from "../player/live-player";
import { StatusBadge } from "../ui/badges";
import { elapsed } from "../ui/elapsed";
import { hueOf } from "../ui/hue";
import { Notice } from "../ui/notice";
import { StreamArt } from "../ui/stream-art";
import { useDocumentTitle } from "../ui/use-document-title";
import { useNow } from "../ui/use-now";
import { NotFoundPage } from "./not-found";

const FRAME = "relative aspect-video w-full overflow-hidden bg-stage sm:rounded-xl";

/** As wide as leaves the whole picture and the title in view; everything lines up with it. */
const COLUMN = "mx-auto w-full pb-4 sm:max-w-[min(100%,(100dvh-12rem)*16/9)] sm:px-6 sm:pt-6";

export function WatchPage() {
  const { id = "" } = useParams();
  const query = useQuery(streamById(id));
  const { data: stream, dataUpdatedAt, error: failure, isFetching, refetch } = query;
  const error = worthTelling(failure);
  const broadcast = useBroadcast(stream);
  const [watches, setWatches] = useState(false);
  const isThere = stream !== undefined && isOnAir(stream) && !isNotFound(failure);
  const counted = useHeartbeat(id, watches && isThere);
  useDocumentTitle(stream ? titleOf(stream) : null);

  if (!stream && !error) {
    return (
      <div className={COLUMN}>
        <div role="status" aria-label="Loading" className={FRAME} />
      </div>
    );
  }
  if (!stream) {
    return isNotFound(error) ? (
      <NotFoundPage />
    ) : (
      <Notice
        testId="watch-error"
        title="We could not load this stream"
        action={{ label: "Try again", onClick: () => void refetch(), busy: isFetching }}
      >
        {error?.message}
      </Notice>
    );
  }
  return (
    <article className={COLUMN}>
      {broadcast ? (
        <LivePlayer
          key={broadcast.key}
          src={broadcast.src}
          lowLatencySrc={broadcast.lowLatencySrc}
          title={titleOf(stream)}
          poster={stream.thumbnail_url ?? undefined}
          audioOnly={isAudioOnly(stream)}
          onWatching={setWatches}
        />
      ) : (
        <Offline stream={stream} />
      )}
      <Details
        stream={stream}
        viewers={counted && counted.at > dataUpdatedAt ? counted.viewers : stream.viewer_count}
        stale={error !== null}
      />
    </article>
  );
}

interface Broadcast {
  /** Changes when another broadcast of the same stream begins: its playlist is a new one. */
  key: string;
  src: string;
  lowLatencySrc: string | null;
}

/**
 * What to play. A broadcast once begun is kept when the stream goes off air, so that it is watched
 * to its end, and when the API is away; only the next one replaces it.
 */
function useBroadcast(stream: PublicStream | undefined): Broadcast | null {
  const [broadcast, setBroadcast] = useState<Broadcast | null>(null);
  const src = stream && isOnAir(stream) ? stream.hls_url : null;
  const lowLatencySrc = stream?.ll_hls_url ?? null;
  const key = `${stream?.id}@${stream?.started_at}`;
  useEffect(() => {
    if (src) {
      setBroadcast((before) => ({
        key,
        src: before?.key === key ? before.src : src,
        lowLatencySrc,
      }));
    }
  }, [src, lowLatencySrc, key]);
  return broadcast;
}

interface Counted {
  streamId: string;
  viewers: number;
  /** Unix ms. */
  at: number;
}

/**
 * Has the viewer counted while `watches`, and answers with the count that came of it last. It is not put
 * into the query cache: that would pass for a poll, put off the next one and end a failure's note.
 */
function useHeartbeat(streamId: string, watches: boolean): Counted | null {
  const [counted, setCounted] = useState<Counted | null>(null);
  useEffect(() => {
    if (watches) {
      const heartbeat = new Heartbeat(streamId, (viewers) =>
        setCounted({ streamId, viewers, at: Date.now() }),
      );
      return () => heartbeat.stop();
    }
  }, [streamId, watches]);
  return counted?.streamId === streamId ? counted : null;
}

function isAudioOnly(stream: PublicStream): boolean {
  const names = stream.available_qualities ?? [];
  return names.length > 0 && names.every((name) => name === "audio");
}

function Offline({ stream }: { stream: PublicStream }) {
  return (
    <div className={FRAME}>
      <div className="absolute inset-0 opacity-45">
        <StreamArt stream={stream} initial={false} />
      </div>
      <div
        data-testid="offline"
        role="status"
        className="absolute inset-0 flex flex-col items-center justify-center gap-1.5 px-6 text-center"
      >
        <p className="font-wide text-xl font-bold sm:text-2xl">Not live at the moment</p>
        <p className="text-ink-soft">Stay here: it starts by itself.</p>
      </div>
    </div>
  );
}

interface DetailsProps {
  stream: PublicStream;
  viewers: number | null | undefined;
  stale: boolean;
}

function Details({ stream, viewers, stale }: DetailsProps) {
  return (
    <div className="flex flex-col gap-4 px-4 pt-5 sm:flex-row sm:items-start sm:px-0">
      <div className="min-w-0 flex-1">
        <h1
          data-testid="stream-title"
          className="font-wide text-xl leading-tight font-bold tracking-tight wrap-anywhere sm:text-2xl"
        >
          {titleOf(stream)}
        </h1>
        {stream.username && (
          <p className="mt-3 flex items-center gap-2.5">
            <Avatar id={stream.id} name={stream.username} />
            <span data-testid="username" className="font-medium wrap-anywhere">
              {stream.username}
            </span>
          </p>
        )}
      </div>
      <dl className="flex flex-wrap items-center gap-x-5 gap-y-2 text-sm text-ink-soft sm:pt-1">
        <div>
          <dt className="sr-only">Status</dt>
          <dd>
            <StatusBadge status={stream.status} />
          </dd>
        </div>
        {isOnAir(stream) && <RunningFor since={stream.started_at} />}
        {isOnAir(stream) && typeof viewers === "number" && (
          <div className="flex gap-1.5">
            <dt className="order-2">watching</dt>
            <dd data-testid="viewers" className="tabular-nums text-ink">
              {viewers.toLocaleString("en")}
            </dd>
          </div>
        )}
        {isOnAir(stream) && (stream.available_qualities?.length ?? 0) > 0 && (
          <div className="flex gap-1.5">
            <dt className="sr-only">Qualities</dt>
            <dd data-testid="qualities" className="tabular-nums">
              {stream.available_qualities?.join(" · ")}
            </dd>
          </div>
        )}
        {stale && (
          <div role="status" className="text-bulb">
            <dt className="sr-only">Note</dt>
            <dd>Details may be out of date</dd>
          </div>
        )}
      </dl>
    </div>
  );
}

function RunningFor({ since }: { since: string | null | undefined }) {
  const text = elapsed(since, useNow());
  return text ? (
    <div className="flex gap-1.5">
      <dt>for</dt>
      <dd className="tabular-nums text-ink">{text}</dd>
    </div>
  ) : null;
}

function Avatar({ id, name }: { id: string; name: string }) {
  return (
    <span
      aria-hidden="true"
      className="flex size-9 flex-none items-center justify-center rounded-full text-sm font-bold text-white"
      style={{ background: `oklch(0.45 0.1 ${hueOf(id)})` }}
    >
      {name.charAt(0).toUpperCase()}
    </span>
  );
}
