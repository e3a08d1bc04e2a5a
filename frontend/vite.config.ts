import { fileURLToPath } from 'node:url';
import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const { env } = process;

// The other texts come with the views that show them.
const OURS_AT_FIRST = /^(?!.*\/(node_modules|texts\/en\/(?!common|key-parts|article)))/;

export default defineConfig({
  plugins: [react(), tailwindcss()],
  resolve: {
    alias: {
      '@': here('./src'),
      '@keyfold/client': here('../clients/typescript/src/index.ts'),
      // Parts of CopilotKit's packages that its chat does not use, and that would weigh twenty times as much as the page.
      streamdown: here('./src/features/assistant/left-out/streamdown.tsx'),
      'katex/dist/katex.min.css': here('./src/features/assistant/left-out/nothing.ts'),
      '@copilotkit/web-inspector': here('./src/features/assistant/left-out/nothing.ts'),
    },
  },
  // Two names of one thing; the first wins. Nothing else of the environment reaches the page.
  define: {
    __API_URL__: JSON.stringify(env.REACT_APP_API_URL || env.REACT_APP_BACKEND_URL || ''),
    __CLERK_PUBLISHABLE_KEY__: JSON.stringify(env.REACT_APP_CLERK_PUBLISHABLE_KEY || ''),
  },
  envPrefix: 'KEYFOLD_PAGE_',
  build: {
    target: 'es2023',
    cssTarget: 'chrome125',
    sourcemap: false,
    manifest: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // What every view needs is packed together, which makes it smaller: what others wrote, which changes less, and ours.
    // `scripts/size.js` sees to it that files do not need each other in a circle.
    rolldownOptions: {
      output: {
        codeSplitting: {
          includeDependenciesRecursively: false,
          groups: [
            { name: 'base', tags: ['$initial'], test: /node_modules/ },
            { name: 'page', tags: ['$initial'], test: OURS_AT_FIRST },
          ],
        },
      },
    },
  },
  server: {
    port: Number(env.PORT || 5173),
    strictPort: true,
    proxy: proxied(['/api', '/gateway', '/openapi.json', '/docs']),
  },
  test: {
    environment: 'jsdom',
    setupFiles: ['src/test/setup.ts'],
    include: ['src/**/*.test.{ts,tsx}'],
    restoreMocks: true,
    // Longer than a test waits for what does not come.
    testTimeout: 30_000,
  },
});

/** `npm run dev` talks to a Keyfold on its usual port. */
function proxied(paths: string[]) {
  return Object.fromEntries(
    paths.map((path) => [path, { target: env.KEYFOLD_URL || 'http://127.0.0.1:8000', changeOrigin: true }]),
  );
}
