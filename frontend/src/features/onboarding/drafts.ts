import { useCallback } from 'react';
import { useKeptState } from '@/parts/draft';
import type { FoundKey } from '@/parts/env-block';
import type { Outcome } from '@/parts/outcome';

/** What is typed into a card and not saved. It is in memory only, and is dropped when it was saved. */
export interface Draft {
  text: string;
  outcome: Outcome | null;
  /** Whether the field of a provider is open that has a key, or is not needed. */
  isOpen: boolean;
  work: 'testing' | 'saving' | null;
}

export type Drafts = Readonly<Record<string, Draft>>;

export type Change =
  | { type: 'typed'; provider: string; text: string }
  | { type: 'pasted'; keys: readonly FoundKey[] }
  | { type: 'moved'; from: string; to: string }
  | { type: 'opened' | 'closed'; provider: string }
  | { type: 'working'; providers: readonly string[]; work: 'testing' | 'saving' }
  /** `key` is what the outcome is about: what was typed meanwhile stays, and it says nothing of that. */
  | { type: 'came-out'; provider: string; key: string; outcome: Outcome; isSaved: boolean };

const EMPTY: Draft = { text: '', outcome: null, isOpen: false, work: null };

export function draftOf(drafts: Drafts, provider: string): Draft {
  return drafts[provider] ?? EMPTY;
}

export function isFilled({ text }: Draft): boolean {
  return text.trim() !== '';
}

const NONE: Drafts = {};

export function useDrafts(): [Drafts, (change: Change) => void] {
  const [drafts, update] = useKeptState('setup', NONE);
  return [drafts, useCallback((change) => update((before) => changed(before, change)), [update])];
}

export function changed(drafts: Drafts, change: Change): Drafts {
  const withDraft = (provider: string, part: Partial<Draft>): Drafts => ({
    ...drafts,
    [provider]: { ...draftOf(drafts, provider), ...part },
  });
  switch (change.type) {
    case 'typed':
      return withDraft(change.provider, { text: change.text, outcome: null });
    case 'pasted': {
      const filled = change.keys.map(({ provider, key }) => [
        provider.id,
        { ...EMPTY, text: key, isOpen: true },
      ]);
      return { ...drafts, ...Object.fromEntries(filled) };
    }
    case 'moved': {
      const { text } = draftOf(drafts, change.from);
      return { ...drafts, [change.from]: EMPTY, [change.to]: { ...EMPTY, text, isOpen: true } };
    }
    case 'opened':
      return withDraft(change.provider, { isOpen: true });
    case 'closed':
      return withDraft(change.provider, EMPTY);
    case 'working': {
      const working = change.providers.map((id) => [
        id,
        { ...draftOf(drafts, id), outcome: null, work: change.work },
      ]);
      return { ...drafts, ...Object.fromEntries(working) };
    }
    case 'came-out': {
      const { provider, key, outcome, isSaved } = change;
      if (draftOf(drafts, provider).text !== key) return withDraft(provider, { work: null });
      return withDraft(provider, isSaved ? { ...EMPTY, outcome } : { outcome, work: null });
    }
  }
}
