/** A message that stands in for content: nothing there, not found, not reached. */

import type { ReactNode } from "react";
import { Link } from "react-router";

interface NoticeProps {
  testId: string;
  title: string;
  children: ReactNode;
  action?: { label: string; to: string } | { label: string; onClick: () => void; busy?: boolean };
}

const BUTTON =
  "mt-3 inline-flex h-10 items-center rounded-full bg-bulb px-5 text-sm font-semibold text-night transition-colors hover:bg-bulb-bright disabled:opacity-60 cursor-pointer";

export function Notice({ testId, title, children, action }: NoticeProps) {
  return (
    <div
      data-testid={testId}
      className="flex min-h-80 flex-col items-center justify-center gap-2 px-6 py-16 text-center"
    >
      <h1 className="font-wide text-xl font-bold sm:text-2xl">{title}</h1>
      <div className="max-w-md text-pretty text-ink-soft">{children}</div>
      {action &&
        ("to" in action ? (
          <Link to={action.to} className={BUTTON}>
            {action.label}
          </Link>
        ) : (
          <button
            type="button"
            className={BUTTON}
            onClick={action.onClick}
            disabled={action.busy ?? false}
          >
            {action.label}
          </button>
        ))}
    </div>
  );
}
