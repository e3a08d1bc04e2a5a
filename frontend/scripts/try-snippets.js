// Runs the programs that "Use it in your code" shows, as they are pasted, against a running Keyfold in local mode:
//   node scripts/try-snippets.js http://127.0.0.1:8000 FOLDER [LANGUAGE…]
// In FOLDER the providers' libraries are looked for: `node_modules`, a Python environment in `venv`, and for Rust a
// crate `rust` with reqwest (blocking, json) and serde_json. Each provider that has a key is called.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { runnerImport } from 'vite';

const [address, folder, ...wanted] = process.argv.slice(2);
if (!address || !folder) throw new Error('usage: try-snippets.js ADDRESS FOLDER [LANGUAGE…]');
const { module } = await runnerImport('./src/features/try-it/snippets.ts');
const { calleeOf, LANGUAGES, snippetsOf } = module;
const languages = wanted.length > 0 ? wanted : LANGUAGES;

const RUN = {
  curl: (code) => run('sh', ['-c', code.replace(/^curl /, 'curl --fail-with-body --silent --show-error ')]),
  python: (code) => run(resolve(folder, 'venv/bin/python'), ['-c', code]),
  typescript: (code) => {
    // Without types, each is JavaScript too.
    writeFileSync(resolve(folder, 'snippet.mjs'), code);
    return run(process.execPath, ['snippet.mjs']);
  },
  rust: (code) => {
    writeFileSync(resolve(folder, 'rust/src/main.rs'), code);
    return run('cargo', ['run', '--quiet', '--offline', '--manifest-path', 'rust/Cargo.toml']);
  },
};

const get = async (path) => (await fetch(address + path)).json();
const { keys } = await get('/api/keys');
const { providers } = await get('/api/providers');
let failures = 0;
for (const provider of providers) {
  if (provider.frontend_variable || !keys.some((key) => key.provider === provider.id)) continue;
  const snippets = snippetsOf(calleeOf(provider, address + provider.gateway_path), null);
  if (!snippets) console.log(`${provider.id}: no example`);
  for (const language of snippets ? languages : []) {
    const { isWhole, output } = RUN[language](snippets[language]);
    if (!isWhole) failures += 1;
    console.log(`${isWhole ? 'ok    ' : 'FAILED'} ${provider.id} ${language}: ${output}`);
  }
}
process.exitCode = failures === 0 ? 0 : 1;

/** A program that prints nothing, or that prints an error as if it were an answer, has failed too. */
function run(program, args) {
  try {
    const output = execFileSync(program, args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' }).trim();
    const isError =
      output === '' || /^(null|undefined|None)$/.test(output) || /"?error"?: [{"']/.test(output);
    return { isWhole: !isError, output: short(output) };
  } catch (error) {
    return { isWhole: false, output: short(`${error.stderr ?? ''}${error.stdout ?? ''}` || error.message) };
  }
}

function short(text) {
  return text.replace(/\s+/g, ' ').slice(-160);
}
