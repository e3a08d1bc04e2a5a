// The site's settings. `build.mjs` copies this file to where it builds, beside `sidebar.json`.

import { readFileSync } from 'node:fs';

const sidebar = JSON.parse(readFileSync(new URL('./sidebar.json', import.meta.url), 'utf8'));

export default {
  title: 'Keyfold',
  description: 'Your users bring their own AI keys, and every call made for a user uses exactly that user’s key.',
  lang: 'en',
  srcDir: 'pages',
  // Whoever reads it is known to the server that it comes from, and to nobody else.
  head: [
    [
      'meta',
      {
        'http-equiv': 'Content-Security-Policy',
        content:
          "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'",
      },
    ],
    ['link', { rel: 'icon', href: 'data:,' }],
  ],
  markdown: {
    // As on the pages that show the files themselves.
    anchor: { slugify: (text) => text.trim().toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-') },
    // An address in plain text is an example.
    linkify: false,
  },
  themeConfig: {
    sidebar,
    outline: [2, 3],
    search: { provider: 'local' },
    nav: [
      { text: 'Quick start', link: '/quick-start' },
      { text: 'Settings', link: '/settings' },
      { text: 'Errors', link: '/errors' },
      { text: 'Troubleshooting', link: '/troubleshooting' },
    ],
  },
};
