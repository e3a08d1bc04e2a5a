// The examples in the documentation are what they say: their types are right, and they run.
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type Keyfold, type Standin, startKeyfold, startStandin } from './support/servers.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = `${root}/tests/examples`;
const DOCUMENTS = ['README.md', '../../docs/typescript.md'];

let standin: Standin;
let keyfold: Keyfold;

function examples(document: string): string[] {
  const text = readFileSync(`${root}/${document}`, 'utf8');
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = '']) => code);
}

/** The examples of one document, as files, in order. */
function written(document: string): string[] {
  const name = document.replaceAll(/\W+/g, '-');
  return examples(document).map((code, n) => {
    const file = `${folder}/${name}-${n + 1}.ts`;
    const here = code
      .replaceAll('http://127.0.0.1:8000', keyfold.url)
      .replaceAll(/YOUR_([A-Z]+)_KEY/g, (_, id: string) => {
        return standin.keys[id.toLowerCase()] ?? expect.fail(id);
      });
    writeFileSync(file, `${here}\nexport {};\n`);
    return file;
  });
}

beforeAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  standin = await startStandin();
  keyfold = await startKeyfold(standin.providers);
});

afterAll(async () => {
  await keyfold?.stop();
  await standin?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test.each(DOCUMENTS)('the examples of %s run, one after the other', async (document) => {
  const said = vi.spyOn(console, 'log').mockImplementation(() => {});
  const files = written(document);
  expect(files).not.toHaveLength(0);
  for (const file of files) await import(/* @vite-ignore */ file);
  expect(said.mock.calls.flat().join(' ')).toMatch(/fp=/);
  said.mockRestore();
});

test('their types are right', async () => {
  for (const document of DOCUMENTS) written(document);
  const options = { extends: '../../tsconfig.json', include: ['*.ts'], exclude: [] };
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify(options));
  const tsc = `${root}/node_modules/typescript/bin/tsc`;
  const checked = await promisify(execFile)(process.execPath, [tsc, '-p', folder]).catch((error) => error);
  expect(checked.stdout).toBe('');
});
