/**
 * A Vite plugin: the first bytes of HTML name the code that is loaded late, so that the browser asks
 * for all of it at once instead of learning of one file from another.
 *
 * The page's own code is linked always. What plays a live, and the answer of the API about it, only at
 * `/live/{id}`; one HTML file serves every URL, so that a line of script looks which one it is.
 */

import type { Plugin, Rolldown } from "vite";

/** Where the links go: before the styles, for which a script after them would wait. */
const PLACE = "<!--early-links-->";
const PAGE = "src/app.tsx";
const PLAYING = "src/player/screen.ts";

type Link = [rel: "modulepreload" | "preload", as: "script" | "style", href: string];

export function earlyLinks(): Plugin {
  return {
    name: "marquee-early-links",
    apply: "build",
    transformIndexHtml: {
      order: "post",
      handler: (html, { bundle }) => {
        if (!bundle || !html.includes(PLACE)) {
          throw new Error(`the early links need a finished bundle, and ${PLACE} to be put at`);
        }
        const page = linksOf(bundle, PAGE);
        const known = new Set(page.map(String));
        const playing = linksOf(bundle, PLAYING).filter((link) => !known.has(String(link)));
        return html.replace(PLACE, () => [scriptTag(playing), ...page.map(linkTag)].join("\n    "));
      },
    },
  };
}

/** Links to the chunk of a module that is imported late, and to all that it imports at once. */
function linksOf(bundle: Rolldown.OutputBundle, module: string): Link[] {
  const chunks = Object.values(bundle).filter((output) => output.type === "chunk");
  const first = chunks.find(({ moduleIds }) => moduleIds.some((id) => id.endsWith(`/${module}`)));
  if (!first) {
    throw new Error(`no chunk has ${module}`);
  }
  const needed = new Set([first]);
  for (const { imports } of needed) {
    for (const chunk of chunks.filter(({ fileName }) => imports.includes(fileName))) {
      needed.add(chunk);
    }
  }
  return [...needed]
    .filter(({ isEntry }) => !isEntry)
    .flatMap(({ fileName, viteMetadata }): Link[] => [
      ["modulepreload", "script", `/${fileName}`],
      ...[...(viteMetadata?.importedCss ?? [])].map((css): Link => ["preload", "style", `/${css}`]),
    ]);
}

function linkTag([rel, as, href]: Link): string {
  return `<link rel="${rel}" as="${as}" href="${href}" crossorigin />`;
}

function scriptTag(links: Link[]): string {
  return `<script>
      {
        const id = /^\\/live\\/([^/]+)\\/?$/.exec(location.pathname)?.[1];
        const links = ${JSON.stringify(links)};
        for (const [rel, as, href] of id ? [["preload", "fetch", "/api/streams/" + id], ...links] : []) {
          document.head.append(Object.assign(document.createElement("link"), { rel, as, crossOrigin: "", href }));
        }
      }
    </script>`;
}
