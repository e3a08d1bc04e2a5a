import type { Provider } from '@keyfold/client';
import { isPlaceholder, ownerOf } from './key-shape';

/** A variable of a pasted `.env` file. */
export interface Variable {
  name: string;
  value: string;
}

/** Which keys a pasted block had, and what became of the rest: names only. */
export interface SortedBlock {
  keys: FoundKey[];
  /** Of no provider here. */
  unknown: string[];
  /** Of a provider, but without a key yet. */
  empty: string[];
}

export interface FoundKey {
  provider: Provider;
  key: string;
  /** The variable that it stood in. */
  name: string;
  /** Further variables of the provider whose value was another one, and was not taken. */
  passedOver: string[];
  /** Stood in a variable that the front end gives to everybody who opens its page. */
  isExposed: boolean;
}

/** The keys in a pasted text; null if it is no block of variables, but a key or something else. */
export function sortBlock(text: string, providers: readonly Provider[]): SortedBlock | null {
  const variables = variablesIn(text);
  const sorted = sort(variables, providers);
  // A single line may be a key with `=` in it, unless its name is known or looks like a variable's.
  const [only] = variables;
  const isBlock = sorted.keys.length + sorted.empty.length > 0 || variables.length > 1;
  return isBlock || (only && /^[A-Z][A-Z0-9]*_[A-Z0-9_]+$/.test(only.name)) ? sorted : null;
}

// `export NAME=`, `NAME: `; the name as dotenv files have it.
const START = /^\s*(?:export\s+)?([A-Za-z_][\w.-]*)(?:\s*=|:\s)[^\S\n]*/;

/** The variables in the order of the text. A value in quotes may go over several lines. */
export function variablesIn(text: string): Variable[] {
  const found: Variable[] = [];
  let rest = text.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n');
  while (rest !== '') {
    const start = START.exec(rest.slice(0, endOfLine(rest)));
    if (!start?.[1]) {
      rest = rest.slice(endOfLine(rest) + 1);
      continue;
    }
    rest = rest.slice(start[0].length);
    const quoted = /^(["'`])((?:\\[\s\S]|(?!\1)[^\\])*)\1[^\S\n]*(?=#|\n|$)/.exec(rest);
    const line = rest.slice(0, endOfLine(rest));
    const value = quoted ? (quoted[2] ?? '') : line.replace(/(^|\s)#.*/, '');
    found.push({ name: start[1], value: value.trim() });
    if (quoted) rest = rest.slice(quoted[0].length);
    rest = rest.slice(endOfLine(rest) + 1);
  }
  return found;
}

function endOfLine(text: string): number {
  const end = text.indexOf('\n');
  return end < 0 ? text.length : end;
}

const FRONT_END = /^(REACT_APP_|VITE_|NEXT_PUBLIC_|NUXT_PUBLIC_|PUBLIC_)/;

interface Candidate extends Variable {
  provider: Provider;
  /** The lower, the better the variable's name says that it is this key. */
  rank: number;
  isExposed: boolean;
}

function sort(variables: readonly Variable[], providers: readonly Provider[]): SortedBlock {
  const unknown = new Set<string>();
  const empty = new Set<string>();
  const candidates = new Map<string, Candidate[]>();
  for (const variable of variables) {
    const candidate = recognised(variable, providers);
    if (!candidate) {
      unknown.add(variable.name);
      continue;
    }
    const { value, provider } = candidate;
    if (value === '' || isPlaceholder(value, provider)) empty.add(variable.name);
    else candidates.set(provider.id, [...(candidates.get(provider.id) ?? []), candidate]);
  }
  const keys = [...candidates.values()].flatMap((same) => best(same) ?? []);
  const taken = new Set(keys.map(({ name }) => name));
  return { keys, unknown: [...unknown], empty: [...empty].filter((name) => !taken.has(name)) };
}

/** As the readers of such files do, the last of equal names counts. */
function best(candidates: readonly Candidate[]): FoundKey | null {
  const [first] = candidates.toReversed().sort((one, other) => one.rank - other.rank);
  if (!first) return null;
  const { provider, value: key, name, isExposed } = first;
  const others = candidates.filter((other) => other.value !== key).map((other) => other.name);
  return { provider, key, name, passedOver: [...new Set(others)], isExposed };
}

function recognised(variable: Variable, providers: readonly Provider[]): Candidate | null {
  const { name, value } = variable;
  const plain = name.replace(FRONT_END, '');
  for (const provider of providers) {
    const { variable: own, also_exported_as: others, frontend_variable: frontEnd } = provider;
    const isExposed = plain !== name && frontEnd == null;
    const rank =
      name === own
        ? 0
        : others.includes(name)
          ? 1
          : name === frontEnd
            ? 2
            : [own, ...others].includes(plain)
              ? 3
              : 4;
    if (rank < 4) return { ...variable, provider, rank, isExposed };
  }
  // Under a name of somebody's own, its form may tell.
  const owner = ownerOf(value, providers);
  const isExposed = plain !== name && owner?.frontend_variable == null;
  return owner ? { ...variable, provider: owner, rank: 4, isExposed } : null;
}
