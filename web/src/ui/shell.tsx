/** What every page has around it. */

import { Link, Outlet, ScrollRestoration } from "react-router";
import { Notice } from "./notice";

export function Shell() {
  return (
    <>
      <a
        href="#main"
        className="sr-only focus:not-sr-only focus:absolute focus:z-50 focus:m-2 focus:rounded focus:bg-stage-2 focus:px-3 focus:py-2"
      >
        Skip to content
      </a>
      <header className="sticky top-0 z-40 border-b border-line/70 bg-night/85 backdrop-blur-md">
        <div className="mx-auto flex h-14 w-full max-w-7xl items-center px-4 sm:px-6">
          <Link to="/" aria-label="Marquee, live now" className="flex items-center gap-2.5">
            <Sign />
            <span className="font-wide text-[1.05rem] font-extrabold tracking-tight">Marquee</span>
          </Link>
        </div>
      </header>
      <main id="main" tabIndex={-1} className="mx-auto w-full max-w-7xl flex-1 outline-none">
        <Outlet />
      </main>
      <footer className="mx-auto w-full max-w-7xl px-4 py-8 text-sm text-ink-soft sm:px-6">
        Self-hosted with Marquee
      </footer>
      <ScrollRestoration />
    </>
  );
}

/** Shown instead of the page when its own code, or the loading of it, failed. */
export function CrashedPage() {
  return (
    <main className="mx-auto w-full max-w-7xl flex-1">
      <Notice
        testId="crashed"
        title="This page broke"
        action={{ label: "Reload", onClick: () => window.location.reload() }}
      >
        Something went wrong on our side. A reload usually helps.
      </Notice>
    </main>
  );
}

function Sign() {
  return (
    <svg viewBox="0 0 32 32" className="size-7" aria-hidden="true">
      <rect x="2" y="6" width="28" height="20" rx="5" className="fill-bulb" />
      <path d="M13 11.5v9l8-4.5z" className="fill-night" />
    </svg>
  );
}
