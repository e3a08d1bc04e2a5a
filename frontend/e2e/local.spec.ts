// Local mode, as a newcomer goes through it.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, expectAccessible, test } from './support/test';

test('from nothing to a streamed answer, with the key in .env', async ({ page, local, watched }) => {
  const { keyfold, standin } = local;
  const key = standin.keys.gemini ?? '';
  watched.secrets.push(key);
  await page.goto(keyfold.url);
  await expect(page).toHaveURL(/\/onboarding$/);
  await expectAccessible(page);
  await page.getByLabel('Google Gemini API key').fill(key);
  await page.getByRole('button', { name: 'Save and continue' }).click();
  await expect(page.getByRole('button', { name: /^Generate|^Ask|^Send/ })).toBeVisible();
  expect(await readFile(join(keyfold.folder, '.env'), 'utf8')).toContain(`GEMINI_API_KEY=${key}`);
  await page.getByRole('button', { name: /^Generate|^Ask|^Send/ }).click();
  await expect(page.getByText(/tokens/i).first()).toBeVisible();
  await expectAccessible(page);
});
