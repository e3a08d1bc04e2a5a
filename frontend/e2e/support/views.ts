// A walk through every view of the page, in the states in which people see it.
import { expect, type Page } from '@playwright/test';
import type { Standin } from './servers';
import { generate, goTo, paste } from './steps';

/** Called where the walk stands still. */
export type Look = (view: string) => Promise<void>;

/** From the first look at the page on; it must be open, and nothing entered. */
export async function walk(page: Page, { keys }: Standin, look: Look) {
  await atTheBeginning(page, look);
  await settingUp(page, keys, look);
  await lookingAfterKeys(page, look);
  await trying(page, look);
  await lookingBack(page, look);
  await inTrouble(page, look);
}

async function atTheBeginning(page: Page, look: Look) {
  await expect(page.getByLabel('Google Gemini API key')).toBeVisible();
  await look('setup');
  await goTo(page, 'Keys');
  await expect(page.getByText('No keys yet')).toBeVisible();
  await look('keys-none');
  await goTo(page, 'Try it');
  await expect(page.getByText('No key that writes text yet')).toBeVisible();
  await look('try-none');
  await goTo(page, 'Activity');
  await expect(page.getByText('Nothing yet')).toBeVisible();
  await look('activity-none');
  await goTo(page, 'Set up');
}

async function settingUp(page: Page, keys: Record<string, string>, look: Look) {
  const field = page.getByLabel('Google Gemini API key');
  await field.fill(keys.openai ?? '');
  await expect(page.getByText(/This looks like/)).toBeVisible();
  await look('setup-foreign');
  await field.fill(`${keys.gemini?.slice(0, -7)}INVALID`);
  await page.getByRole('button', { name: 'Save and continue' }).click();
  await expect(page.getByText('Refused by the provider, and not saved.')).toBeVisible();
  await look('setup-refused');
  const names = ['gemini', 'exa', 'openai', 'anthropic'];
  const block = names.map((name) => `${name.toUpperCase()}_API_KEY="${keys[name]}"`);
  await field.fill('');
  await paste(page, 'Google Gemini API key', `# keys\n${block.join('\n')}\nSECRET_OF_MINE=1\n`);
  await expect(page.getByText('4 keys found')).toBeVisible();
  await look('setup-pasted');
  await page.getByRole('button', { name: 'Save and continue' }).click();
  await expect(page.getByRole('heading', { name: 'See it work' })).toBeVisible();
  await look('setup-try');
  await generate(page);
  await page.getByRole('button', { name: 'Search' }).click();
  await expect(page.getByText('3 results')).toBeVisible();
  await look('setup-answer');
  await page.getByRole('button', { name: 'Finish', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'What works now' })).toBeVisible();
  await look('setup-done');
}

async function lookingAfterKeys(page: Page, look: Look) {
  await goTo(page, 'Keys');
  const there = page.getByRole('list', { name: 'Keys that are there' });
  await expect(there.getByRole('listitem')).toHaveCount(4);
  await look('keys');
  await there.getByRole('link', { name: /Google Gemini/ }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Google Gemini' })).toBeVisible();
  await expect(page.getByText('Key saved')).toBeVisible();
  await look('key');
  await page.getByRole('button', { name: 'Replace' }).click();
  await look('key-replace');
  await page.getByRole('button', { name: 'Keep the old key' }).click();
  await page.getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByRole('dialog')).toBeVisible();
  await look('key-delete');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('link', { name: 'All keys' }).click();
  await page.getByRole('link', { name: /Groq/ }).click();
  await expect(page.getByLabel('Groq API key')).toBeVisible();
  await expect(page.getByText('Nothing yet.')).toBeVisible();
  await look('key-none');
}

async function trying(page: Page, look: Look) {
  await goTo(page, 'Try it');
  await expect(page.getByLabel('What should it write?')).toBeVisible();
  await look('try');
  await page.getByRole('button', { name: /haiku/ }).click();
  await generate(page);
  await look('try-answer');
  await page.getByRole('tab', { name: 'Research' }).click();
  await page.getByLabel('What do you want to find?').fill('How do tides work?');
  await page.getByRole('button', { name: 'Search' }).click();
  await expect(page.getByText(/results$/).first()).toBeVisible();
  await look('try-research');
  await page.getByRole('tab', { name: 'Use it in your code' }).click();
  await expect(page.getByText('Gateway address')).toBeVisible();
  await look('try-code');
}

async function lookingBack(page: Page, look: Look) {
  await goTo(page, 'Activity');
  await expect(page.getByText('Google Gemini key saved')).toBeVisible();
  await look('activity');
  await page.getByLabel('Outcome').selectOption('Refused');
  await expect(page.getByText('Google Gemini key saved')).toBeHidden();
  await look('activity-filtered');
  await goTo(page, 'Account');
  await look('account');
  await page.getByRole('button', { name: 'Delete everything…' }).click();
  await expect(page.getByRole('dialog')).toBeVisible();
  await look('account-delete');
  await page.getByRole('button', { name: 'Cancel' }).click();
}

async function inTrouble(page: Page, look: Look) {
  await goTo(page, 'Try it');
  await page.getByRole('tab', { name: 'Generate' }).click();
  // The stand-in refuses the key from now on.
  await page.getByLabel('What should it write?').fill('standin:INVALID');
  await page.getByRole('button', { name: /^Generate/ }).click();
  await expect(page.getByText('refuses your key').first()).toBeVisible();
  await look('try-refused');
  await goTo(page, 'Keys');
  await expect(page.getByText('refuses your key')).toBeVisible();
  await look('keys-refused');
  await page.getByRole('link', { name: 'See the key' }).click();
  await expect(page.getByText('The provider refuses this key').first()).toBeVisible();
  await look('key-refused');
  await page.context().setOffline(true);
  await expect(page.getByText('You are offline.')).toBeVisible();
  await look('offline');
  await page.context().setOffline(false);
  await page.goto(new URL('/nowhere', page.url()).href);
  await expect(page.getByText('There is nothing at this address')).toBeVisible();
  await look('not-found');
}
