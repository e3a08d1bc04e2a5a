// What stands in the site, and in which order. A page that is named here and missing fails the build, and so does one
// that is there and not named.

/** The documents beside `docs/`, by their path in the site. */
export const PROJECT = {
  'project/security.md': 'SECURITY.md',
  'project/architecture.md': 'ARCHITECTURE.md',
  'project/contributing.md': 'CONTRIBUTING.md',
  'project/changelog.md': 'CHANGELOG.md',
};

const CONTENTS = [
  ['Begin', { 'quick-start': 'Quick start', 'walk-throughs': 'Three walk-throughs', 'from-alwrity': 'From ALwrity’s layout', page: 'The page' }],
  ['Local mode', { 'local-mode': 'Guide', 'why-not-the-environment': 'Why not the environment' }],
  [
    'Production',
    { production: 'Guide', deployment: 'Deploying', 'sign-in': 'Sign-in', 'service-tokens': 'Service tokens', migration: 'Migration', 'migration-env': 'Moving in from .env' },
  ],
  ['Calls', { gateway: 'The gateway', clients: 'Providers’ libraries', python: 'Python', rust: 'Rust', typescript: 'TypeScript', providers: 'Providers', usage: 'Usage', 'rate-limits': 'Rate limits' }],
  [
    'Operations',
    { operations: 'Operations', 'master-key': 'The master key', deletion: 'Deletion and emergency', audit: 'Audit', performance: 'Performance' },
  ],
  ['Security', { security: 'Looking after it', 'project/security': 'Promises and limits', incidents: 'How others failed' }],
  ['Reference', { settings: 'Settings', errors: 'Errors', troubleshooting: 'Troubleshooting' }],
  ['Project', { 'project/architecture': 'Architecture', 'project/contributing': 'Contributing', 'project/changelog': 'Changelog' }],
];

/** The side bar for these pages. */
export function sidebarOf(pages) {
  const named = CONTENTS.flatMap(([, entries]) => Object.keys(entries));
  const missing = named.filter((page) => !pages.includes(page));
  const unnamed = pages.filter((page) => page !== 'index' && !named.includes(page));
  if (missing.length > 0) throw new Error(`named in docs/site/contents.mjs and not there: ${missing.join(', ')}`);
  if (unnamed.length > 0) throw new Error(`not named in docs/site/contents.mjs: ${unnamed.join(', ')}`);
  return CONTENTS.map(([text, entries]) => ({
    text,
    collapsed: false,
    items: Object.entries(entries).map(([page, title]) => ({ text: title, link: `/${page}` })),
  }));
}
