import { expect, test } from 'vitest';
import { searchOf, shownBy } from './search';

const shown = (search: string) => shownBy(new URLSearchParams(search));

test('the address chooses what is shown, and the other way round', () => {
  const chosen = { days: 90, filters: { provider: 'gemini', action: 'key.saved', outcome: 'ok' } } as const;
  const search = 'provider=gemini&action=key.saved&outcome=ok&days=90';
  expect(shown(search)).toEqual(chosen);
  expect(new URLSearchParams(searchOf(chosen)).toString()).toBe(search);
});

test('what nobody can choose is dropped', () => {
  expect(shown('provider=../x&action=key.eaten&outcome=&days=31&more=1')).toEqual({ days: 30, filters: {} });
  expect(shown('')).toEqual({ days: 30, filters: {} });
});
