// Every way in which a key can be wrong: what the user reads, and that nothing typed is lost.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { freePort } from './support/servers';
import { paste } from './support/steps';
import { expect, expectAccessible, test } from './support/test';

const FIELD = 'OpenAI API key';

/** A key of the provider in which a word tells the stand-in what to answer. */
function withWord(key: string | undefined, word: string): string {
  return `${key?.slice(0, -word.length)}${word}`;
}

const REFUSED = 'Refused by the provider, and not saved.';

test.describe('refused', () => {
  test.use({ expectedInConsole: [/status of 422/] });

  test('a key that the provider does not know is not saved, and stays typed', async ({ page, local }) => {
    const key = withWord(local.standin.keys.openai, 'INVALID');
    await save(page, local.keyfold.url, key);
    await expect(page.getByText(REFUSED)).toBeVisible();
    await expect(page.getByText(/Check that you copied all of it/)).toBeVisible();
    await expect(page.getByLabel(FIELD)).toHaveValue(key);
    await expect(page.getByLabel(FIELD)).toBeFocused();
    await expectAccessible(page);
    await page.reload();
    await expect(page.getByText('No key', { exact: true })).toBeVisible();
  });

  for (const [what, key, hint, answer] of [
    [
      'another provider’s key',
      `sk-ant-api03-TestData${'0'.repeat(87)}`,
      /looks like an Anthropic key/,
      /Anthropic/,
    ],
    ['a placeholder', 'your_openai_api_key', /This is a placeholder/, /placeholder/],
    ['a key in quotes', '"sk-proj-TestData00000000000000"', /no spaces, quotes/, /quote/],
    ['a key with a space inside', 'sk-proj-TestData 000000000000', /no spaces, quotes/, /space/],
  ] as const) {
    test(`${what} is known before it is sent, and refused`, async ({ page, local }) => {
      await page.goto(`${local.keyfold.url}/keys/openai`);
      await page.getByLabel(FIELD).fill(key);
      await expect(page.getByText(hint)).toBeVisible();
      await page.getByRole('button', { name: 'Save key' }).click();
      await expect(page.getByText('This cannot be an OpenAI key.')).toBeVisible();
      await expect(page.getByRole('alert')).toContainText(answer);
      await expect(page.getByLabel(FIELD)).toHaveValue(key);
    });
  }

  test('a replacement that is refused leaves the old key at work', async ({ page, local, watched }) => {
    const { keyfold, standin } = local;
    const key = watched.typed(standin.keys.openai);
    await save(page, keyfold.url, key);
    await expect(page.getByText('Saved. It works.')).toBeVisible();
    await page.getByRole('button', { name: 'Replace' }).click();
    const wrong = withWord(key, 'INVALID');
    await page.getByLabel(FIELD).fill(wrong);
    await page.getByRole('button', { name: 'Check and replace' }).click();
    await expect(page.getByText(REFUSED)).toBeVisible();
    await expect(page.getByLabel(FIELD)).toHaveValue(wrong);
    await page.getByRole('button', { name: 'Keep the old key' }).click();
    await page.getByRole('button', { name: 'Test key' }).click();
    await expect(page.getByText('This key works.')).toBeVisible();
    await expect(page.getByText(`****${key.slice(-4)}`)).toBeVisible();
    expect(await readFile(join(keyfold.folder, '.env'), 'utf8')).toContain(`OPENAI_API_KEY=${key}\n`);
  });

  test('of several keys the good ones are saved, and the bad one stays typed', async ({ page, local }) => {
    const { keyfold, standin } = local;
    await page.goto(keyfold.url);
    const wrong = withWord(standin.keys.exa, 'INVALID');
    await page.getByLabel('Google Gemini API key').fill(standin.keys.gemini ?? '');
    await page.getByLabel('Exa API key').fill(wrong);
    await page.getByRole('button', { name: 'Save and continue' }).click();
    await expect(page.getByText('One key was not saved, one was. See below what to do.')).toBeVisible();
    await expect(page.getByLabel('Exa API key')).toHaveValue(wrong);
    await expect(page.getByText(`****${standin.keys.gemini?.slice(-4)}`)).toBeVisible();
    await page.getByLabel('Exa API key').fill('');
    await page.getByRole('button', { name: 'Continue' }).click();
    await expect(page.getByRole('heading', { name: 'See it work' })).toBeVisible();
  });
});

for (const [word, title, detail] of [
  ['DENIED', 'Saved. It works, but with limits.', /lacks a scope/],
  ['QUOTA', 'Saved. It works, but with limits.', /quota is used up/],
  ['NOCREDIT', 'Saved. It works, but with limits.', /quota is used up/],
  [
    'BROKEN',
    'Saved, but not checked. Whether it works shows at the first call.',
    /OpenAI answered 500 to the check/,
  ],
  [
    'NONSENSE',
    'Saved, but not checked. Whether it works shows at the first call.',
    /a web page answered in its place/,
  ],
] as const) {
  test(`a key for which the provider answers ${word} is saved with a word of warning`, async ({
    page,
    local,
    watched,
  }) => {
    const key = withWord(local.standin.keys.openai, word);
    watched.typed(key);
    await page.goto(`${local.keyfold.url}/keys/openai`);
    await page.getByLabel(FIELD).fill(key);
    await page.getByRole('button', { name: 'Test key' }).click();
    await expect(
      page.getByText(/This key works, but with limits.|This key could not be checked./),
    ).toBeVisible();
    await expect(page.getByText(/You can save it/)).toBeVisible();
    await expect(page.getByLabel(FIELD)).toHaveValue(key);
    await page.getByRole('button', { name: 'Save key' }).click();
    await expect(page.getByText(title)).toBeVisible();
    await expect(page.getByRole('status').filter({ hasText: title })).toContainText(detail);
    await expect(page.getByText(`****${key.slice(-4)}`)).toBeVisible();
  });
}

test('a line break at the end of a pasted key does not count', async ({ page, local }) => {
  const key = local.standin.keys.openai ?? '';
  await page.goto(`${local.keyfold.url}/keys/openai`);
  await paste(page, FIELD, `  ${key}\n`);
  await page.getByRole('button', { name: 'Save key' }).click();
  await expect(page.getByText('Saved. It works.')).toBeVisible();
  expect(await readFile(join(local.keyfold.folder, '.env'), 'utf8')).toContain(`OPENAI_API_KEY=${key}\n`);
});

test.describe('where nobody answers', () => {
  test.use({
    localVariables: async ({ standin: _ }, use) => {
      await use({ KEYFOLD_PROVIDER_OPENAI_BASE_URL: `http://127.0.0.1:${await freePort()}` });
    },
  });

  test('a key is saved unchecked, and the page says so', async ({ page, local }) => {
    await save(page, local.keyfold.url, local.standin.keys.openai ?? '');
    await expect(page.getByText(/Saved, but not checked/)).toBeVisible();
    await expect(page.getByText('Not checked', { exact: true }).first()).toBeVisible();
  });
});

test('a replaced key can be rolled back, and back again', async ({ page, local }) => {
  const { keyfold, standin } = local;
  const first = standin.keys.openai ?? '';
  const second = `${first.slice(0, -4)}NEXT`;
  await save(page, keyfold.url, first);
  await page.getByRole('button', { name: 'Replace' }).click();
  await page.getByLabel(FIELD).fill(second);
  await page.getByRole('button', { name: 'Check and replace' }).click();
  await expect(page.getByText('****NEXT')).toBeVisible();
  await page.getByRole('button', { name: 'Roll back' }).click();
  await expect(page.getByText(/Rolled back/)).toBeVisible();
  await expect(page.getByText(`****${first.slice(-4)}`)).toBeVisible();
  expect(await readFile(join(keyfold.folder, '.env'), 'utf8')).toContain(`OPENAI_API_KEY=${first}\n`);
  await page.getByRole('button', { name: 'Roll back' }).click();
  await expect(page.getByText('****NEXT')).toBeVisible();
});

test('deleting a key asks first, and says what stops working', async ({ page, local }) => {
  const { keyfold, standin } = local;
  await save(page, keyfold.url, standin.keys.openai ?? '');
  await page.getByRole('button', { name: 'Delete' }).click();
  const question = page.getByRole('dialog', { name: 'Delete your OpenAI key?' });
  await expect(question).toContainText('Texts are no longer generated with OpenAI.');
  await expect(question).toContainText('All versions are wiped.');
  await page.keyboard.press('Escape');
  await expect(question).toBeHidden();
  await expect(page.getByRole('button', { name: 'Delete' })).toBeFocused();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('button', { name: 'Delete key' }).click();
  await expect(page.getByText('Your OpenAI key is deleted.')).toBeVisible();
  expect(await readFile(join(keyfold.folder, '.env'), 'utf8')).not.toContain('OPENAI_API_KEY');
});

async function save(page: Page, url: string, key: string) {
  await page.goto(`${url}/keys/openai`);
  await page.getByLabel(FIELD).fill(key);
  await page.getByRole('button', { name: 'Save key' }).click();
}
