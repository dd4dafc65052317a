/**
 * What the browser runs first: small, so that a live begins to load, and to play, while the code of
 * the page around it is still on its way.
 */

import "./styles.css";
import "./player/player.css";
import { askFirst } from "./api/public-stream";
import { openEarly } from "./player/early-screen";
import { watchedId } from "./watched-id";

const id = watchedId(window.location.pathname);
if (id !== null) {
  await openEarly(askFirst(id));
}

const { showPage } = await import("./app");
const root = document.getElementById("root");
if (root) {
  showPage(root);
}
