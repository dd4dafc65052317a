// Both packages ship types for their main entry only; these are the trimmed builds of the same API.

declare module "hls.js/light" {
  export * from "hls.js";
  export { default } from "hls.js";
}

declare module "video.js/core" {
  import videojs from "video.js";
  export default videojs;
}
