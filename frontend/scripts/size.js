// Fails the build when a first load is larger than promised: the entry and a view with all that they import, as they
// travel (brotli). Every view may be the first: a link may lead there.
import { readFileSync, statSync } from 'node:fs';

const LIMIT_KB = 120;
const VIEW = /^src\/features\/[^/]+\/[a-z-]+-view\.tsx$/;

// How people sign in is loaded where they sign in so; local mode needs none.
const SESSIONS = [null, 'src/session/oidc-session.tsx', 'src/session/clerk-session.tsx'];

/** What a view loads by itself as soon as it is there. */
const AT_ONCE = { 'src/features/onboarding/onboarding-view.tsx': ['src/features/onboarding/about-keys.tsx'] };

const manifest = JSON.parse(readFileSync('dist/.vite/manifest.json', 'utf8'));

/** The chunk and all that it cannot run without. */
function withImports(name, found = new Set()) {
  if (found.has(name)) return found;
  found.add(name);
  for (const needed of manifest[name].imports ?? []) withImports(needed, found);
  return found;
}

/** Their bytes, in kilobytes of a thousand. */
function size(names) {
  const bytes = [...names].reduce((sum, name) => sum + statSync(`dist/${manifest[name].file}.br`).size, 0);
  return bytes / 1000;
}

for (const name of Object.keys(manifest)) {
  const circular = (manifest[name].imports ?? []).find((needed) => withImports(needed).has(name));
  if (!circular) continue;
  console.error(
    `${name} and ${circular} need each other, and whichever runs first fails. If a view's texts are needed at first now, name them in vite.config.ts.`,
  );
  process.exit(1);
}

const entry = Object.keys(manifest).find((name) => manifest[name].isEntry);
const views = Object.keys(manifest).filter((name) => VIEW.test(name));
let failed = false;
for (const view of views) {
  for (const session of SESSIONS) {
    const chunks = withImports(view, withImports(entry));
    for (const part of [...(session ? [session] : []), ...(AT_ONCE[view] ?? [])]) withImports(part, chunks);
    const kilobytes = size(chunks);
    console.log(
      `first load of ${nameOf(view)}${session ? ` with ${nameOf(session)}` : ''}: ${kilobytes.toFixed(1)} kB`,
    );
    // Clerk's own script (71 kB) comes on top of it, from Clerk's host.
    failed ||= kilobytes > LIMIT_KB;
  }
}
if (failed) {
  console.error(
    `The first load is larger than ${LIMIT_KB} kB. Load what is not needed at once later, or leave it out.`,
  );
  process.exit(1);
}

function nameOf(source) {
  return source
    .split('/')
    .at(-1)
    .replace(/\.tsx$/, '');
}
