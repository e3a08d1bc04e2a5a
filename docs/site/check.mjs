// Looks at the site as it was made: every link leads to a page and a heading that are there, and nothing is loaded from
// another host.

import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

export function check(out, pages) {
  const files = filesBelow(out);
  const documents = new Map(files.filter((file) => file.endsWith('.html')).map((file) => [file, readFileSync(file, 'utf8')]));
  const wrong = [];

  for (const page of pages) {
    if (!documents.has(join(out, `${page}.html`))) wrong.push(`${page} was not made`);
  }
  for (const [file, html] of documents) {
    const say = (what) => wrong.push(`${relative(out, file)} ${what}`);
    if (!/http-equiv="Content-Security-Policy"/.test(html)) say('lets other hosts in');
    for (const [, tag, attributes] of html.matchAll(/<(a|script|link|img|iframe|source|form)\s([^>]*)>/g)) {
      for (const [, target] of attributes.matchAll(/(?:href|src|action)="([^"]*)"/g)) {
        if (/^(data|mailto):/.test(target)) continue;
        if (/^([a-z]+:)?\/\//.test(target)) {
          if (tag !== 'a') say(`loads ${target}`);
          continue;
        }
        const problem = lookUp(out, documents, file, target);
        if (problem) say(`links to ${target}, ${problem}`);
      }
    }
  }
  for (const file of files.filter((file) => file.endsWith('.css'))) {
    if (/(url\(|@import)\s*["']?([a-z]+:)?\/\/[a-z0-9]/i.test(readFileSync(file, 'utf8'))) wrong.push(`${relative(out, file)} loads from another host`);
  }
  // The search box has its index with it.
  if (!files.some((file) => /localSearchIndex/.test(file))) wrong.push('there is no index to search in');

  if (wrong.length > 0) throw new Error(`the site is not whole:\n  ${wrong.join('\n  ')}`);
  console.log(`ok -- ${documents.size} pages, all links lead somewhere, nothing is loaded from elsewhere`);
}

/** What is wrong with a link inside the site, if anything. */
function lookUp(out, documents, from, target) {
  const [path, anchor] = decodeURI(target).split('#');
  let file = path === '' ? from : path.startsWith('/') ? join(out, path) : join(dirname(from), path);
  if (existsSync(file) && statSync(file).isDirectory()) file = join(file, 'index.html');
  if (!existsSync(file) && existsSync(`${file}.html`)) file = `${file}.html`;
  if (!existsSync(file)) return 'which is not there';
  if (!anchor || anchor === 'VPContent') return undefined;
  const html = documents.get(file);
  return html?.includes(`id="${anchor}"`) ? undefined : 'whose heading is not there';
}

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}
