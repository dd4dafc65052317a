/** `/`: what is live. */

import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { isOnAir, type PublicStream, titleOf } from "../api/public-stream";
import { liveStreams, worthTelling } from "../api/streams";
import { StatusBadge, Tag } from "../ui/badges";
import { elapsed } from "../ui/elapsed";
import { Notice } from "../ui/notice";
import { StreamArt } from "../ui/stream-art";
import { useDocumentTitle } from "../ui/use-document-title";
import { useNow } from "../ui/use-now";

export function LiveNowPage() {
  useDocumentTitle(null);
  const { data, error: failure, isFetching, refetch } = useQuery(liveStreams);
  const error = worthTelling(failure);

  if (!data && !error) {
    return <Loading />;
  }
  if (!data) {
    return (
      <Notice
        testId="live-error"
        title="We could not ask what is live"
        action={{ label: "Try again", onClick: () => void refetch(), busy: isFetching }}
      >
        {error?.message}
      </Notice>
    );
  }
  const onAir = data.filter(isOnAir);
  if (onAir.length === 0) {
    return <NobodyLive />;
  }
  return (
    <section className="px-4 py-7 sm:px-6 sm:py-9" aria-labelledby="live-now">
      <div className="mb-5 flex items-baseline gap-3">
        <h1 id="live-now" className="font-wide text-2xl font-bold tracking-tight sm:text-3xl">
          Live now
        </h1>
        <span className="text-ink-soft tabular-nums">{onAir.length}</span>
        {error && (
          <span role="status" className="ml-auto text-sm text-bulb">
            Not up to date, trying again
          </span>
        )}
      </div>
      <ul
        data-testid="live-list"
        className={`grid grid-cols-1 gap-x-5 gap-y-8 ${columns(onAir.length)}`}
      >
        {onAir.map((stream) => (
          <LiveCard key={stream.id} stream={stream} alone={onAir.length === 1} />
        ))}
      </ul>
    </section>
  );
}

const WATCH =
  "mt-6 hidden h-10 items-center rounded-full bg-bulb px-6 text-sm font-semibold text-night transition-colors group-hover:bg-bulb-bright lg:inline-flex";

/** Few streams get room; a wall of small tiles is for many. */
function columns(streams: number): string {
  switch (streams) {
    case 1:
      return "";
    case 2:
      return "sm:grid-cols-2";
    default:
      return "sm:grid-cols-2 lg:grid-cols-3";
  }
}

function LiveCard({ stream, alone }: { stream: PublicStream; alone: boolean }) {
  const running = elapsed(stream.started_at, useNow());
  const best = stream.available_qualities?.[0];
  return (
    <li>
      <Link
        to={`/live/${stream.id}`}
        data-testid="live-card"
        className={`group block rounded-xl outline-offset-4 ${alone ? "lg:flex lg:gap-8" : ""}`}
      >
        <div
          className={`relative aspect-video ${alone ? "lg:w-2/3 lg:flex-none" : ""} overflow-hidden rounded-xl bg-stage ring-1 ring-white/8 transition group-hover:ring-2 group-hover:ring-bulb`}
        >
          <StreamArt stream={stream} />
          <div className="absolute inset-x-2.5 top-2.5 flex justify-between">
            <StatusBadge status={stream.status} />
            {best && <Tag>{best === "audio" ? "Audio" : best}</Tag>}
          </div>
          <div className="absolute inset-x-2.5 bottom-2.5 flex justify-between">
            {typeof stream.viewer_count === "number" && stream.viewer_count > 0 ? (
              <Tag>{stream.viewer_count.toLocaleString("en")} watching</Tag>
            ) : (
              <span />
            )}
            {running && <Tag>{running}</Tag>}
          </div>
        </div>
        <div className={alone ? "lg:self-center" : ""}>
          <h2
            className={`mt-3 line-clamp-2 leading-snug font-semibold wrap-anywhere ${alone ? "text-lg lg:line-clamp-4 lg:font-wide lg:text-3xl lg:font-bold" : "text-[1.05rem]"}`}
          >
            {titleOf(stream)}
          </h2>
          {stream.username && <p className="mt-0.5 text-sm text-ink-soft">{stream.username}</p>}
          {alone && <span className={WATCH}>Watch</span>}
        </div>
      </Link>
    </li>
  );
}

function NobodyLive() {
  return (
    <div
      data-testid="live-empty"
      className="mx-auto flex max-w-2xl flex-col gap-6 px-6 py-16 sm:py-24"
    >
      <div>
        <h1 className="font-wide text-3xl font-bold tracking-tight sm:text-4xl">
          Nobody is live right now
        </h1>
        <p className="mt-3 text-lg text-ink-soft">
          Broadcasts show up here the moment they start. To start one yourself:
        </p>
      </div>
      <ol className="flex flex-col gap-px overflow-hidden rounded-xl bg-line ring-1 ring-line">
        <Step number={1} title="Get a stream key">
          Sign up and create a key with <Code>POST /api/auth/register</Code> and{" "}
          <Code>POST /api/streams/generate-key</Code>.
        </Step>
        <Step number={2} title="Point OBS at this server">
          In Settings → Stream choose Custom and paste the <Code>srt_url</Code> of your key as the
          server. Set the keyframe interval to 2 s.
        </Step>
        <Step number={3} title="Press Start Streaming">
          Your picture is on this page a few seconds later.
        </Step>
      </ol>
    </div>
  );
}

function Step({
  number,
  title,
  children,
}: {
  number: number;
  title: string;
  children: React.ReactNode;
}) {
  return (
    <li className="flex gap-4 bg-stage p-5">
      <span
        aria-hidden="true"
        className="flex size-7 flex-none items-center justify-center rounded-full bg-bulb text-sm font-bold text-night"
      >
        {number}
      </span>
      <div className="min-w-0">
        <h2 className="font-semibold">{title}</h2>
        <p className="mt-1 text-pretty text-ink-soft">{children}</p>
      </div>
    </li>
  );
}

function Code({ children }: { children: string }) {
  return (
    <code className="rounded bg-stage-2 px-1.5 py-0.5 text-[0.85em] text-ink wrap-anywhere sm:whitespace-nowrap">
      {children}
    </code>
  );
}

function Loading() {
  return (
    <div className="px-4 py-7 sm:px-6 sm:py-9" role="status" aria-label="Loading">
      <div className="mb-5 h-8 w-40 rounded bg-stage-2" />
      <div className="grid grid-cols-1 gap-5 sm:grid-cols-2 lg:grid-cols-3">
        {["a", "b", "c"].map((key) => (
          <div key={key} className="aspect-video rounded-xl bg-stage motion-safe:animate-pulse" />
        ))}
      </div>
    </div>
  );
}
