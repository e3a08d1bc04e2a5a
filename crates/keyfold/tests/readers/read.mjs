// Reads CASES/.env.* with the Node readers; writes {reader: {case: {name: value}}} to OUT.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import dotenv from 'dotenv';
import { loadEnv } from 'vite';

const [cases, out] = process.argv.slice(-2);

// loadEnv answers with the process's own variables too.
for (const name of Object.keys(process.env)) delete process.env[name];

// Vite reads with Node's parseEnv, which in Node 20 takes an indented comment, a line of whitespace
// or a bare name for the start of the next variable's name.
const vite = parseEnv('A=1\n # comment\nB=2').B === '2' ? 'vite' : 'vite on old Node';

const readers = {
  dotenv: (file) => dotenv.parse(readFileSync(join(cases, file))),
  'dotenv, fast': (file) => dotenv.parse(readFileSync(join(cases, file)), { fast: true }),
  [vite]: (file) => loadEnv(file.slice('.env.'.length), cases, ''),
};

const files = readdirSync(cases).filter((file) => file.startsWith('.env.'));
const read = {};
for (const [reader, values] of Object.entries(readers)) {
  read[reader] = Object.fromEntries(files.map((file) => [file, values(file)]));
}
writeFileSync(out, JSON.stringify(read));
