// Writes src/schema.ts from openapi.json.
import { writeFile } from 'node:fs/promises';
import { schema } from './schema.mjs';

await writeFile(new URL('../src/schema.ts', import.meta.url), await schema());
