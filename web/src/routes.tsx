/** The URL table of the page. nginx answers each of these with index.html. */

import type { QueryClient } from "@tanstack/react-query";
import { createBrowserRouter } from "react-router";
import { streamById } from "./api/streams";
import { LiveNowPage } from "./pages/live-now";
import { NotFoundPage } from "./pages/not-found";
import { WatchPage } from "./pages/watch";
import { CrashedPage, Shell } from "./ui/shell";

export const createRouter = (queries: QueryClient) =>
  createBrowserRouter([
    {
      element: <Shell />,
      errorElement: <CrashedPage />,
      children: [
        { path: "/", element: <LiveNowPage /> },
        {
          path: "/live/:id",
          // The stream is asked for while the code still loads; the page shows what comes of it.
          loader: ({ params: { id = "" } }) => {
            void queries.prefetchQuery(streamById(id));
            return null;
          },
          Component: WatchPage,
        },
        { path: "*", element: <NotFoundPage /> },
      ],
    },
  ]);
