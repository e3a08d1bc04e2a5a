import { expect, test, vi } from 'vitest';
import {
  COPILOTKIT_KEY_UPDATED,
  forgetCopilotKitKey,
  forgetOthersCopilotKitKey,
  keepCopilotKitKey,
  readCopilotKitKey,
} from './copilotkit-key';

const key = 'ck_pub_TestData';

test('the key is where CopilotKit’s components look for it, and only its owner reads it', () => {
  keepCopilotKitKey('alice', ` ${key} `);
  expect(localStorage.getItem('copilotkit_api_key')).toBe(key);
  expect(readCopilotKitKey('alice')).toBe(key);
  expect(readCopilotKitKey('bob')).toBeNull();
});

test('it stays for its owner, and goes when somebody else is there', () => {
  keepCopilotKitKey('alice', key);
  forgetOthersCopilotKitKey('alice');
  expect(readCopilotKitKey('alice')).toBe(key);
  forgetOthersCopilotKitKey('bob');
  expect(localStorage).toHaveLength(0);
});

test('a key that nobody owns goes too', () => {
  localStorage.setItem('copilotkit_api_key', key);
  forgetOthersCopilotKitKey('alice');
  expect(localStorage).toHaveLength(0);
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
