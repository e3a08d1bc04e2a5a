// Makes the documentation's site: `node build.mjs WORK OUT`. WORK has this folder's package.json and node_modules; the
// documents are copied there, since some stand outside `docs/` and link to files that are in no site.

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check } from './check.mjs';
import { PROJECT, sidebarOf } from './contents.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../..');
const work = resolve(process.argv[2]);
const out = resolve(process.argv[3]);
const source = join(work, 'pages');

const pages = stage();
mkdirSync(join(work, '.vitepress'), { recursive: true });
cpSync(join(here, 'config.mjs'), join(work, '.vitepress/config.mjs'));
writeFileSync(join(work, '.vitepress/sidebar.json'), JSON.stringify(sidebarOf(pages)));
rmSync(out, { recursive: true, force: true });
execFileSync(join(work, 'node_modules/.bin/vitepress'), ['build', work, '--outDir', out], { stdio: 'inherit' });
check(out, pages);

/** Copies the documents, with their links changed to where they lead in the site. Returns the pages' names. */
function stage() {
  rmSync(source, { recursive: true, force: true });
  mkdirSync(join(source, 'project'), { recursive: true });
  const documents = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
  const places = Object.fromEntries(documents.map((name) => [name, `docs/${name}`]));
  Object.assign(places, PROJECT);
  const siteOf = Object.fromEntries(Object.entries(places).map(([site, place]) => [place, site]));
  for (const [site, place] of Object.entries(places)) {
    const text = readFileSync(join(root, place), 'utf8');
    writeFileSync(join(source, site), relinked(text, place, site, siteOf));
  }
  cpSync(join(root, 'docs/images'), join(source, 'images'), { recursive: true });
  return Object.keys(places).map((site) => site.replace(/\.md$/, ''));
}

function relinked(text, place, site, siteOf) {
  return text.replace(/(!?)\[((?:[^\][]|\[[^\]]*\])*)\]\(([^)\s]+)\)/g, (whole, picture, words, target) => {
    if (picture || /^[a-z]+:/.test(target) || target.startsWith('#')) return whole;
    const [path, anchor] = target.split('#');
    const linked = join(dirname(place), path);
    if (!existsSync(join(root, linked))) throw new Error(`${place} links to ${target}, which is not there`);
    // A file of the repository that is no page: its name says enough.
    if (!(linked in siteOf)) return words;
    const up = dirname(site) === '.' ? './' : '../';
    return `[${words}](${up}${siteOf[linked]}${anchor === undefined ? '' : `#${anchor}`})`;
  });
}
