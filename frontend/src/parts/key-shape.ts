import type { Provider } from '@keyfold/client';

/** What can be said of a text before its provider is asked. The server has the last word. */
export type Appearance =
  | { kind: 'empty' }
  | { kind: 'known' }
  /** No known form, which may be a new one. */
  | { kind: 'unknown' }
  | { kind: 'foreign'; owner: Provider }
  /** A form that is not taken; says why. */
  | { kind: 'refused'; why: string }
  | { kind: 'placeholder' }
  /** Has characters that no key has. */
  | { kind: 'malformed' };

type Shape = Provider['shapes'][number];

export function appearance(text: string, provider: Provider, providers: readonly Provider[]): Appearance {
  const key = text.trim();
  if (key === '') return { kind: 'empty' };
  if (isPlaceholder(key, provider)) return { kind: 'placeholder' };
  if (!/^[\x21-\x7e]+$/.test(key) || /[$'"`\\]/.test(key)) return { kind: 'malformed' };
  const refused = provider.refused.find(({ prefix }) => key.startsWith(prefix));
  if (refused) return { kind: 'refused', why: refused.why };
  if (provider.shapes.some((shape) => shape.only_here && fits(shape, key))) return { kind: 'known' };
  const owner = providers.find((other) => other.id !== provider.id && isOnlyOf(other, key));
  if (owner) return { kind: 'foreign', owner };
  const isKnown = provider.shapes.length === 0 || provider.shapes.some((shape) => fits(shape, key));
  return { kind: isKnown ? 'known' : 'unknown' };
}

/** Whose key it is, if its form says so. */
export function ownerOf(text: string, providers: readonly Provider[]): Provider | undefined {
  return providers.find((provider) => isOnlyOf(provider, text.trim()));
}

const TELLTALES =
  /your[_-]|yourkey|yourapikey|change[_-]?me|placeholder|replace[_-]me|key[_-]here|^<.*>$|^(todo|none|null|undefined|xxx|test|api_?key)$/i;

/** Whether it only stands for a key that is not there yet. */
export function isPlaceholder(text: string, provider: Provider): boolean {
  if (TELLTALES.test(text)) return true;
  const prefixes = provider.shapes
    .map(({ prefix = '' }) => prefix)
    .filter((prefix) => text.startsWith(prefix));
  const rest = text.slice(Math.max(0, ...prefixes.map(({ length }) => length)));
  return /^[xX*._-]+$/.test(rest);
}

function isOnlyOf(provider: Provider, key: string): boolean {
  return (
    provider.shapes.some((shape) => shape.only_here && fits(shape, key)) ||
    provider.refused.some(({ prefix }) => key.startsWith(prefix))
  );
}

const CHARACTERS: Record<string, RegExp> = {
  word: /^[A-Za-z0-9_-]*$/,
  alphanumeric: /^[A-Za-z0-9]*$/,
  hex: /^[0-9A-Fa-f]*$/,
  uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i,
};

function fits({ prefix = '', characters, exactly, at_least }: Shape, key: string): boolean {
  if (!key.startsWith(prefix)) return false;
  const rest = key.slice(prefix.length);
  if (exactly != null && rest.length !== exactly) return false;
  if (at_least != null && rest.length < at_least) return false;
  return CHARACTERS[characters]?.test(rest) ?? true;
}
