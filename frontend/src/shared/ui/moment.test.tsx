import { render, screen } from '@testing-library/react';
import { expect, test } from 'vitest';
import { inWords, Moment } from './moment';

const now = new Date('2026-11-30T12:00:00Z');

test('near times are told as a distance, far ones exactly', () => {
  expect(inWords(new Date('2026-11-30T11:59:30Z'), now)).toBe('now');
  expect(inWords(new Date('2026-11-30T11:15:00Z'), now)).toBe('45 minutes ago');
  expect(inWords(new Date('2026-11-30T02:00:00Z'), now)).toBe('10 hours ago');
  expect(inWords(new Date('2026-11-27T12:00:00Z'), now)).toBe('3 days ago');
  expect(inWords(new Date('2026-10-01T12:00:00Z'), now)).toContain('2026');
});

test('what is no time stands there as it came', () => {
  render(<Moment at="yesterday, or so" />);
  expect(screen.getByText('yesterday, or so')).toBeVisible();
});
