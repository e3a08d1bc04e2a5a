import { fireEvent, render, screen } from '@testing-library/react';
import { useState } from 'react';
import { beforeEach, expect, test, vi } from 'vitest';
import { exa, gemini, providers, testKeys } from '@/test/render';
import { KeyField } from './key-field';
import { whenTyping } from './typing';

vi.mock('./typing', async (original) => {
  const { whenTyping, ...rest } = await original<typeof import('./typing')>();
  return { ...rest, whenTyping: vi.fn(whenTyping) };
});

const onBlock = vi.fn();
beforeEach(() => onBlock.mockClear());

function Field() {
  const [value, setValue] = useState('');
  return (
    <KeyField provider={gemini} providers={providers} value={value} onChange={setValue} onBlock={onBlock} />
  );
}

function pasteInto(text: string) {
  const field = screen.getByLabelText<HTMLInputElement>('Google Gemini API key');
  fireEvent.focus(field);
  // Where it is not taken, a browser inserts it; jsdom does not.
  return { field, isTaken: !fireEvent.paste(field, { clipboardData: { getData: () => text } }) };
}

test('a block of variables goes to the cards, and not into the field', async () => {
  render(<Field />);
  const { field } = pasteInto(`GEMINI_API_KEY=${testKeys.gemini}\nEXA_API_KEY=${testKeys.exa}\n`);
  await vi.waitFor(() => expect(onBlock).toHaveBeenCalledOnce());
  expect(onBlock.mock.lastCall?.[0].keys).toMatchObject([{ provider: gemini }, { provider: exa }]);
  expect(field).toHaveValue('');
});

test('what only looks like a block is typed, on one line and where the cursor is', async () => {
  render(<Field />);
  const { field } = pasteInto('');
  fireEvent.change(field, { target: { value: 'before-after' } });
  field.setSelectionRange(6, 7);
  pasteInto('c2VjcmV0=\n');
  await vi.waitFor(() => expect(field).toHaveValue('beforec2VjcmV0=after'));
  expect(onBlock).not.toHaveBeenCalled();
});

test('a key alone is pasted by the browser itself', () => {
  render(<Field />);
  expect(pasteInto(testKeys.gemini).isTaken).toBe(false);
});

test('where nothing more can be loaded, what was pasted is typed all the same', async () => {
  vi.mocked(whenTyping).mockRejectedValue(new TypeError('Failed to fetch'));
  render(<Field />);
  const { field } = pasteInto(`GEMINI_API_KEY=${testKeys.gemini}`);
  await vi.waitFor(() => expect(field).toHaveValue(`GEMINI_API_KEY=${testKeys.gemini}`));
});
