/// <reference types="vite/client" />

/** Where Keyfold is, if not where the page came from. */
declare const __API_URL__: string;
/** Clerk's publishable key, if the page was built with one. */
declare const __CLERK_PUBLISHABLE_KEY__: string;
