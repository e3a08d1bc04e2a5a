// The package as others use it: built, by its sources, and how much it adds to a page.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Bytes after gzip. A page has 120 kB for everything. */
const MOST = 4096;

/** What a page gets that imports this, minified. */
async function bundled(statement: string, conditions: string[]): Promise<string> {
  const output = await build({
    root,
    configFile: false,
    logLevel: 'error',
    // The package finds itself by its name, as others find it.
    plugins: [
      {
        name: 'page',
        resolveId: (id) => (id === 'page' ? '\0page' : null),
        load: (id) => (id === '\0page' ? statement : null),
      },
    ],
    resolve: { conditions: [...conditions, 'module', 'browser'] },
    build: {
      write: false,
      minify: true,
      target: 'es2022',
      rollupOptions: { input: 'page', preserveEntrySignatures: 'strict' },
    },
  });
  const [first] = Array.isArray(output) ? output : [output];
  if (first === undefined || !('output' in first)) return expect.fail('nothing was built');
  return first.output.map((chunk) => ('code' in chunk ? chunk.code : '')).join('');
}

const CLIENT = `export { KeyfoldClient } from '@keyfold/client';`;

test.each([
  ['built', []],
  ['by its sources', ['@keyfold/source']],
])('%s, it is small', async (_, conditions) => {
  const code = await bundled(CLIENT, conditions);
  expect(code).toContain('stream_cut');
  const size = gzipSync(code).length;
  process.stdout.write(`@keyfold/client: ${code.length} bytes minified, ${size} after gzip\n`);
  expect(size).toBeLessThan(MOST);
});

test('what is not used is left out', async () => {
  expect(await bundled(`import '@keyfold/client';`, ['@keyfold/source'])).not.toContain('stream_cut');
  const events = await bundled(`export { readEvents } from '@keyfold/client/events';`, ['@keyfold/source']);
  expect(events).not.toContain('stream_cut');
});

test('Node runs what was built, and every file that it names is there', async () => {
  const { exports } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as {
    exports: Record<string, Record<string, string> | string>;
  };
  const files = Object.values(exports).flatMap((entry) =>
    typeof entry === 'string' ? [entry] : Object.values(entry),
  );
  for (const file of files) expect(existsSync(`${root}/${file}`), file).toBe(true);
  const built = `${root}/dist/index.js`;
  const { KeyfoldClient } = (await import(/* @vite-ignore */ built)) as typeof import('../src/index.js');
  expect(new KeyfoldClient({ baseUrl: 'http://x' }).gatewayUrl('exa')).toBe('http://x/gateway/exa');
});

test('there is nothing to install besides it', () => {
  const description = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as Record<string, unknown>;
  expect(description).not.toHaveProperty('dependencies');
  expect(description).toMatchObject({ type: 'module', sideEffects: false });
});

test('the lock file names no address to download from', () => {
  expect(readFileSync(`${root}/package-lock.json`, 'utf8')).not.toMatch(/"resolved": "(?!file:)/);
});
