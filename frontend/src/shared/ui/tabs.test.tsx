import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState } from 'react';
import { expect, test } from 'vitest';
import { Tabs } from './tabs';

const tabs = (['one', 'two', 'three'] as const).map((value) => ({
  value,
  label: value,
  content: `of ${value}`,
}));

function Three() {
  const [value, setValue] = useState<'one' | 'two' | 'three'>('one');
  return <Tabs label="Numbers" tabs={tabs} value={value} onChange={setValue} />;
}

test('the keyboard goes around the tabs, and what is chosen is shown and named', async () => {
  const user = userEvent.setup();
  render(<Three />);
  await user.tab();
  for (const [key, chosen] of [
    ['{ArrowRight}', 'two'],
    ['{ArrowRight}', 'three'],
    ['{ArrowRight}', 'one'],
    ['{ArrowLeft}', 'three'],
    ['{Home}', 'one'],
    ['{End}', 'three'],
    ['{ArrowDown}', 'three'],
  ] as const) {
    await user.keyboard(key);
    expect(screen.getByRole('tab', { name: chosen, selected: true })).toHaveFocus();
    expect(screen.getByRole('tabpanel', { name: chosen })).toHaveTextContent(`of ${chosen}`);
    expect(screen.getAllByRole('tab', { selected: true })).toHaveLength(1);
  }
  // One step of the keyboard for all of them, and the next leads to what is shown.
  await user.tab();
  expect(screen.getByRole('tabpanel')).toHaveFocus();
});

test('a click chooses, and keys of the browser stay the browser’s', async () => {
  const user = userEvent.setup();
  render(<Three />);
  await user.click(screen.getByRole('tab', { name: 'two' }));
  expect(screen.getByRole('tabpanel', { name: 'two' })).toBeVisible();
  await user.keyboard('{Alt>}{ArrowLeft}{/Alt}');
  expect(screen.getByRole('tabpanel', { name: 'two' })).toBeVisible();
});
