// Fails the build when the first load is larger than promised: the entry and all that it imports, and the view that a
// newcomer sees, as they travel (brotli).
import { readFileSync, statSync } from 'node:fs';

const LIMIT_KB = 120;
const FIRST_VIEWS = [
  'src/features/onboarding/onboarding-view.tsx',
  'src/features/keys/keys-view.tsx',
  'src/features/sign-in/sign-in-view.tsx',
];

const manifest = JSON.parse(readFileSync('dist/.vite/manifest.json', 'utf8'));

/** The chunk and all that it cannot run without. */
function withImports(name, found = new Set()) {
  if (found.has(name)) return found;
  found.add(name);
  for (const needed of manifest[name].imports ?? []) withImports(needed, found);
  return found;
}

const entry = Object.keys(manifest).find((name) => manifest[name].isEntry);
const SESSIONS = ['src/session/oidc-session.tsx', 'src/session/clerk-session.tsx'];
let failed = false;
for (const view of FIRST_VIEWS) {
  const chunks = withImports(view, withImports(entry));
  const bytes = [...chunks].reduce((sum, name) => sum + statSync(`dist/${manifest[name].file}.br`).size, 0);
  const kilobytes = bytes / 1000;
  console.log(`first load of ${view.split('/').at(-1)}: ${kilobytes.toFixed(1)} kB of ${LIMIT_KB} kB`);
  failed ||= kilobytes > LIMIT_KB;
}
for (const session of SESSIONS) {
  if (!manifest[session]) continue;
  const own = [...withImports(session)].filter((name) => !withImports(entry).has(name));
  const bytes = own.reduce((sum, name) => sum + statSync(`dist/${manifest[name].file}.br`).size, 0);
  console.log(
    `besides, where people sign in so: ${session.split('/').at(-1)}: ${(bytes / 1000).toFixed(1)} kB`,
  );
}
if (failed) {
  console.error('The first load is too large. Load what is not needed at once later, or leave it out.');
  process.exit(1);
}
