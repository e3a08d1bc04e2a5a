import type { AuditEvent } from '@keyfold/client';
import { expect, test } from 'vitest';
import { actorIn, linesOf, titleOf } from './events';

let id = 100;
function event(action: string, fields: Partial<AuditEvent> = {}): AuditEvent {
  id -= 1;
  return {
    id,
    action,
    actor: 'user',
    at: '2026-11-30T12:00:00Z',
    outcome: 'ok',
    provider: 'gemini',
    ...fields,
  };
}
const nameOf = (provider: string) => (provider === 'gemini' ? 'Google Gemini' : provider);

test('the use of a key and the end of its call are one line, where the use stands', () => {
  const ended = event('key.ended', { call_id: 'c1', outcome: 'failed', duration_ms: 40 });
  const saved = event('key.saved');
  const opened = event('key.opened', { call_id: 'c1', purpose: 'generate' });
  const lines = linesOf([ended, saved, opened], true);
  expect(lines.map((line) => line.event.action)).toEqual(['key.saved', 'key.opened']);
  expect(lines[1]).toEqual({ event: opened, end: ended, isOpen: false });
});

test('an end whose use is on another page stands for itself', () => {
  const ended = event('key.ended', { call_id: 'c1' });
  expect(linesOf([ended], true)).toEqual([{ event: ended, end: null, isOpen: false }]);
});

test('a use without an end is open, unless a filter may have left the end out', () => {
  const opened = event('key.opened', { call_id: 'c1' });
  expect(linesOf([opened], true)[0]?.isOpen).toBe(true);
  expect(linesOf([opened], false)[0]?.isOpen).toBe(false);
});

test('what was done is said in words, and what is not known is shown as it is recorded', () => {
  expect(titleOf(event('key.saved'), nameOf)).toBe('Google Gemini key saved');
  expect(titleOf(event('user.deleted', { provider: null }), nameOf)).toBe('Everything of yours was deleted');
  expect(titleOf(event('key.folded'), nameOf)).toBe('key.folded · Google Gemini');
  expect(titleOf(event('moon.risen', { provider: null }), nameOf)).toBe('moon.risen');
  expect(titleOf(event('constructor', { provider: null }), nameOf)).toBe('constructor');
});

test('who did it is said in words', () => {
  expect(actorIn('user')).toBe('you');
  expect(actorIn('service:mailer')).toBe('the service mailer');
  expect(actorIn('act:support:1')).toBe('support:1, in your name');
  expect(actorIn('somebody')).toBe('somebody');
  expect(actorIn('constructor')).toBe('constructor');
});
