import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { schema } from '../scripts/schema.mjs';

// That openapi.json is the server's own is a test of the server (crates/keyfold-server/tests/docs.rs).
test('the types are those of openapi.json; if not: npm run generate', async () => {
  const is = readFileSync(new URL('../src/schema.ts', import.meta.url), 'utf8');
  expect(is === (await schema()), 'src/schema.ts is out of date: npm run generate').toBe(true);
});
