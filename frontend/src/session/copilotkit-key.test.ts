import { beforeEach, expect, test, vi } from 'vitest';
import {
  COPILOTKIT_KEY_UPDATED,
  forgetCopilotKitKey,
  inFront,
  keepCopilotKitKey,
  nobodyInFront,
  readCopilotKitKey,
} from './copilotkit-key';

const key = 'ck_pub_TestData';

beforeEach(() => inFront('alice'));

test('the key is where CopilotKit’s components look for it, and only its owner reads it', () => {
  keepCopilotKitKey('alice', ` ${key} `);
  expect(localStorage.getItem('copilotkit_api_key')).toBe(key);
  expect(readCopilotKitKey('alice')).toBe(key);
  expect(readCopilotKitKey('bob')).toBeNull();
});

test('it stays for its owner, and goes when somebody else is there', () => {
  keepCopilotKitKey('alice', key);
  inFront('alice');
  expect(readCopilotKitKey('alice')).toBe(key);
  inFront('bob');
  expect(localStorage).toHaveLength(0);
});

test('a key that nobody owns goes too', () => {
  localStorage.setItem('copilotkit_api_key', key);
  inFront('alice');
  expect(localStorage).toHaveLength(0);
});

test('a key whose owner left while it was being saved is not kept', () => {
  for (const now of [null, 'bob']) {
    inFront(now);
    keepCopilotKitKey('alice', key);
    expect(localStorage).toHaveLength(0);
  }
});

test('where nobody is signed in any more, nothing is left for whoever comes next', () => {
  keepCopilotKitKey('alice', key);
  // Not known who it is: perhaps its owner.
  inFront(null);
  expect(readCopilotKitKey('alice')).toBe(key);
  nobodyInFront();
  expect(localStorage).toHaveLength(0);
});

test('where nothing can be kept, nothing fails', () => {
  vi.spyOn(Storage.prototype, 'setItem').mockImplementation(() => {
    throw new DOMException('full', 'QuotaExceededError');
  });
  keepCopilotKitKey('alice', key);
  expect(readCopilotKitKey('alice')).toBeNull();
});

test('each change is told to the window', () => {
  const told = vi.fn();
  window.addEventListener(COPILOTKIT_KEY_UPDATED, told);
  keepCopilotKitKey('alice', key);
  forgetCopilotKitKey();
  window.removeEventListener(COPILOTKIT_KEY_UPDATED, told);
  expect(told).toHaveBeenCalledTimes(2);
  expect(localStorage).toHaveLength(0);
});
