import { expect, test } from 'vitest';
import type { Outcome } from '@/parts/outcome';
import { changed, type Drafts, draftOf } from './drafts';

const outcome: Outcome = { tone: 'good', title: 'Saved.', lines: [] };
const typed = (text: string, before: Drafts = {}) =>
  changed(before, { type: 'typed', provider: 'gemini', text });

test('a saved key is dropped, and its outcome stays', () => {
  const drafts = changed(typed('key'), {
    type: 'came-out',
    provider: 'gemini',
    key: 'key',
    outcome,
    isSaved: true,
  });
  expect(draftOf(drafts, 'gemini')).toEqual({ text: '', outcome, isOpen: false, work: null });
});

test('what was typed while the first key was on its way stays, and nothing is said of it', () => {
  const saving = changed(typed('first'), { type: 'working', providers: ['gemini'], work: 'saving' });
  const drafts = changed(typed('second', saving), {
    type: 'came-out',
    provider: 'gemini',
    key: 'first',
    outcome,
    isSaved: true,
  });
  expect(draftOf(drafts, 'gemini')).toMatchObject({ text: 'second', outcome: null, work: null });
});

test('a moved key leaves nothing behind', () => {
  const drafts = changed(typed('key'), { type: 'moved', from: 'gemini', to: 'openai' });
  expect(draftOf(drafts, 'gemini').text).toBe('');
  expect(draftOf(drafts, 'openai')).toMatchObject({ text: 'key', isOpen: true });
});
