import openapiTypescript, { astToString } from 'openapi-typescript';

/** What src/schema.ts should be. */
export async function schema() {
  const types = await openapiTypescript(new URL('../openapi.json', import.meta.url), { alphabetize: true });
  return `// Made from openapi.json by \`npm run generate\`.\n\n${astToString(types)}`;
}
