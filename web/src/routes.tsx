/** The URL table of the page. nginx answers each of these with index.html. */

import { createBrowserRouter } from "react-router";
import { LiveNowPage } from "./pages/live-now";
import { NotFoundPage } from "./pages/not-found";
import { CrashedPage, Shell } from "./ui/shell";

export const router = createBrowserRouter([
  {
    element: <Shell />,
    errorElement: <CrashedPage />,
    children: [
      { path: "/", element: <LiveNowPage /> },
      {
        path: "/live/:id",
        // The player is most of the code, and the list does not need it.
        lazy: async () => ({ Component: (await import("./pages/watch")).WatchPage }),
      },
      { path: "*", element: <NotFoundPage /> },
    ],
  },
]);
