/** What is said over the picture. */

import type { ReactNode } from "react";
import type { Phase } from "./phase";

interface PlayerOverlayProps {
  phase: Phase;
  audioOnly: boolean;
  muted: boolean;
  onUnmute: () => void;
  onRetry: () => void;
}

export function PlayerOverlay({ phase, audioOnly, muted, onUnmute, onRetry }: PlayerOverlayProps) {
  return (
    <>
      {audioOnly && (phase === "playing" || phase === "connecting") && <AudioOnly />}
      <div className="mq-overlay" data-phase={phase} role="status" aria-live="polite">
        {message(phase, onRetry)}
      </div>
      {muted && (
        <button type="button" className="mq-unmute" data-testid="unmute" onClick={onUnmute}>
          <MutedIcon />
          Tap for sound
        </button>
      )}
    </>
  );
}

function message(phase: Phase, onRetry: () => void): ReactNode {
  switch (phase) {
    case "reconnecting":
      return (
        <Card testId="reconnecting">
          <span className="mq-pulse" aria-hidden="true" />
          <strong>Reconnecting…</strong>
          <span>The broadcast was interrupted. It goes on here by itself.</span>
        </Card>
      );
    case "ended":
      return (
        <Card testId="ended">
          <strong>The broadcast has ended</strong>
          <span>Thanks for watching.</span>
        </Card>
      );
    case "lost":
      return (
        <Card testId="lost">
          <strong>The broadcast cannot be reached</strong>
          <span>The broadcaster may be offline.</span>
          <button type="button" className="mq-button" onClick={onRetry}>
            Try again
          </button>
        </Card>
      );
    default:
      return null;
  }
}

function Card({ testId, children }: { testId: string; children: ReactNode }) {
  return (
    <div className="mq-overlay-card" data-testid={testId}>
      {children}
    </div>
  );
}

function AudioOnly() {
  return (
    <div className="mq-audio-only" data-testid="audio-only" aria-hidden="true">
      {[0.45, 0.8, 1, 0.6, 0.9, 0.5, 0.7].map((height, index) => (
        <i
          // biome-ignore lint/suspicious/noArrayIndexKey: a fixed picture
          key={index}
          style={{ height: `${height * 6}rem`, animationDelay: `${index * -0.23}s` }}
        />
      ))}
    </div>
  );
}

function MutedIcon() {
  return (
    <svg viewBox="0 0 24 24" width="18" height="18" fill="none" aria-hidden="true">
      <path
        d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5m0-5-5 5"
        stroke="currentColor"
        strokeWidth="1.8"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
