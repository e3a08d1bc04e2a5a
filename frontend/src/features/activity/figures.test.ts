import type { UsageOfDay } from '@keyfold/client';
import { expect, test } from 'vitest';
import { lastDays, roundedUp, seriesOf, totalOf } from './figures';

function usage(day: string, provider: string, requests: number): UsageOfDay {
  return { day, provider, requests, errors: 1, input_tokens: 2, output_tokens: 3, unknown: 0, models: [] };
}

test('the last days end with today, as UTC has it', () => {
  const now = new Date('2026-03-01T23:30:00-05:00');
  expect(lastDays(3, now)).toEqual(['2026-02-28', '2026-03-01', '2026-03-02']);
});

test('requests stand at their day, the busiest provider first', () => {
  const days = ['2026-11-29', '2026-11-30'];
  const rows = [
    usage('2026-11-30', 'exa', 1),
    usage('2026-11-29', 'gemini', 5),
    usage('2026-11-30', 'gemini', 2),
  ];
  expect(seriesOf(rows, days, 6)).toEqual([
    { provider: 'gemini', total: 7, perDay: [5, 2] },
    { provider: 'exa', total: 1, perDay: [0, 1] },
  ]);
});

test('providers beyond the colours are put together, and none is lost', () => {
  const day = '2026-11-30';
  const rows = [9, 8, 3, 2].map((requests) => usage(day, `p${requests}`, requests));
  expect(seriesOf(rows, [day], 3).map(({ provider, total }) => [provider, total])).toEqual([
    ['p9', 9],
    ['p8', 8],
    [null, 5],
  ]);
});

test('figures are added up', () => {
  const rows = [usage('2026-11-30', 'exa', 1), usage('2026-11-29', 'exa', 4)];
  expect(totalOf(rows)).toEqual({ requests: 5, errors: 2, input_tokens: 4, output_tokens: 6 });
});

test('the scale ends at a round number that is not below the highest bar', () => {
  expect([0, 3, 7, 11, 40, 41, 999].map(roundedUp)).toEqual([4, 4, 8, 20, 40, 50, 1000]);
});
