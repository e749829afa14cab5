/// <reference types="vite/client" />

interface ImportMetaEnv {
  /** The page was built, and its service worker with it. */
  readonly OFFLINE?: boolean;
}
