import { fileURLToPath } from 'node:url';
import base from './playwright.config';

// Pictures of every view, to be looked at: see scripts/screenshots.sh.
export default {
  ...base,
  testMatch: 'screenshots.ts',
  outputDir: fileURLToPath(new URL('../../target/screenshots-work', import.meta.url)),
  timeout: 300_000,
};
