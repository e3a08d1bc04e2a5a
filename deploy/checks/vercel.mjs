// Looks at frontend/vercel.json as Vercel does, with Vercel's own library: its form, and what each address leads to.
// `node vercel.mjs FILE`, where @vercel/routing-utils can be found.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.cwd()}/`);
const { getTransformedRoutes } = require('@vercel/routing-utils');
const file = process.argv[2];
const config = JSON.parse(readFileSync(file, 'utf8'));

const known = ['$schema', 'buildCommand', 'framework', 'headers', 'installCommand', 'outputDirectory', 'rewrites'];
for (const name of Object.keys(config)) assert(known.includes(name), `${file}: what is ${name}?`);

const { routes, error } = getTransformedRoutes(config);
assert.equal(error, null, `${file}: ${error?.message}`);

// Headers are set on the way; then files are looked for; what is no file goes to the page.
const before = routes.slice(0, routes.findIndex((route) => route.handle === 'filesystem'));
const after = routes.filter((route) => route.dest !== undefined);
const headersOf = (path) =>
  Object.assign({}, ...before.filter((route) => new RegExp(route.src).test(path)).map((route) => route.headers));
const leadsTo = (path) => {
  const route = after.find(({ src }) => new RegExp(src).test(path));
  return route && path.replace(new RegExp(route.src), route.dest);
};

for (const path of ['/', '/keys', '/keys/gemini', '/onboarding', '/callback', '/a/b/c']) {
  assert.equal(leadsTo(path), '/index.html', `${path} is the page's`);
}
// A script that is gone after a deployment must not be answered with a page.
assert.equal(leadsTo('/assets/index-0123.js'), undefined, 'a file that is not there stays away');

for (const path of ['/', '/keys', '/callback', '/callbacks', '/assets/index-0123.js']) {
  const headers = headersOf(path);
  assert.equal(headers['X-Content-Type-Options'], 'nosniff', path);
  assert.equal(headers['Referrer-Policy'], 'no-referrer', path);
  const policy = Object.fromEntries(
    headers['Content-Security-Policy'].split(';').map((part) => {
      const [name, ...values] = part.trim().split(' ');
      return [name, values.join(' ')];
    }),
  );
  assert.equal(policy['default-src'], "'none'", path);
  // With the page, and what Clerk's library loads.
  const scripts = ["'self'", 'https://*.clerk.accounts.dev', 'https://challenges.cloudflare.com'];
  assert.deepEqual(policy['script-src'].split(' '), scripts, path);
  // An issuer leads back to the page's own address in a hidden frame of the page.
  const isLedBackTo = path === '/callback';
  assert.equal(policy['frame-ancestors'], isLedBackTo ? "'self'" : "'none'", path);
  assert.equal(headers['X-Frame-Options'], isLedBackTo ? 'SAMEORIGIN' : 'DENY', path);
  assert.equal(policy['base-uri'], "'none'", path);
}
assert.match(headersOf('/assets/index-0123.js')['Cache-Control'], /immutable/);
assert.equal(headersOf('/')['Cache-Control'], undefined, 'a new page shows at once');

console.log(`ok -- ${file} leads every address where it should`);
