// Fails the build when the first load is larger than promised: the entry and all that it imports, and the view that a
// newcomer sees, as they travel (brotli).
import { readFileSync, statSync } from 'node:fs';

const LIMIT_KB = 120;
const FIRST_VIEWS = [
  'src/features/onboarding/onboarding-view.tsx',
  'src/features/keys/keys-view.tsx',
  'src/features/sign-in/sign-in-view.tsx',
];

// How people sign in is loaded where they sign in so; local mode needs none.
const CLERK = 'src/session/clerk-session.tsx';
const SESSIONS = [null, 'src/session/oidc-session.tsx', CLERK];

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

const entry = Object.keys(manifest).find((name) => manifest[name].isEntry);
let failed = false;
for (const view of FIRST_VIEWS) {
  for (const session of SESSIONS) {
    const chunks = withImports(view, withImports(entry));
    if (session) withImports(session, chunks);
    const kilobytes = size(chunks);
    console.log(
      `first load of ${nameOf(view)}${session ? ` with ${nameOf(session)}` : ''}: ${kilobytes.toFixed(1)} kB`,
    );
    // Not held where Clerk signs people in: its own script (71 kB) comes on top, from Clerk's host.
    failed ||= kilobytes > LIMIT_KB && session !== CLERK;
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
