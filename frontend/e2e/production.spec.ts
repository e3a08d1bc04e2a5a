// Production: two people, signed in through a real OpenID provider.
import { readFile } from 'node:fs/promises';
import type { Page } from '@playwright/test';
import { inDatabase } from './support/servers';
import { generate, goTo, saveKeys } from './support/steps';
import {
  enterAtIssuer,
  expect,
  expectAccessible,
  expectSignedIn,
  type PeopleAt,
  signIn,
  test,
} from './support/test';

test('two people see nothing of each other: no key, no activity, no figures, no data', async ({
  page,
  production,
  anotherBrowser,
  watched,
}) => {
  const key = watched.typed(production.standin.keys.gemini);
  await page.goto(production.keyfold.url);
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await expectAccessible(page);
  await signIn(page, production, 'anna');
  await expect(page).toHaveURL(/\/onboarding$/);
  await expect(page.getByRole('complementary')).toContainText('You pay your own provider');
  await saveKeys(page, { GEMINI_API_KEY: key });
  await generate(page);

  const other = await anotherBrowser();
  await signIn(other, production, 'ben');
  await goTo(other, 'Keys');
  await expect(other.getByText('No keys yet')).toBeVisible();
  await goTo(other, 'Activity');
  await expect(other.getByText('No calls in this time')).toBeVisible();
  await expect(other.getByText('Nothing yet')).toBeVisible();
  const { keys, usage, activity } = await exported(other);
  expect([keys, usage, activity]).toEqual([[], [], []]);

  // They are there, for the one whose they are.
  await goTo(page, 'Activity');
  await expect(page.getByText('Google Gemini key used').first()).toBeVisible();
  const own = await exported(page);
  expect(own.keys).toMatchObject([{ provider: 'gemini', masked: `****${key.slice(-4)}` }]);
  expect(own.usage).toMatchObject([{ provider: 'gemini' }]);
  expect(JSON.stringify(own)).not.toContain(key);
  expect(JSON.stringify(own)).not.toContain(production.idOf('ben'));
});

test('a reload keeps the session, and signing out ends it in every tab', async ({
  page,
  production,
  context,
}) => {
  await signIn(page, production, 'anna');
  await page.goto(`${production.keyfold.url}/account`);
  await expectSignedIn(page);
  await page.reload();
  await expectSignedIn(page);
  await expect(page).toHaveURL(/\/account$/);
  const tab = await context.newPage();
  await tab.goto(`${production.keyfold.url}/keys`);
  await expectSignedIn(tab);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(tab).toHaveURL(/\/sign-in/);
});

test('where somebody wanted to go is where signing in leads', async ({ page, production }) => {
  await page.goto(`${production.keyfold.url}/activity`);
  await page.getByRole('button', { name: /Continue with/ }).click();
  await enterAtIssuer(page, production.idOf('anna'));
  await expect(page).toHaveURL(/\/activity$/);
});

test('the next person in the same browser finds nothing of the one before', async ({
  page,
  context,
  production,
}) => {
  await signIn(page, production, 'anna');
  await saveCopilotKitKey(page, production);
  expect(await keptKey(page)).toBe(production.standin.keys.copilotkit);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page).not.toHaveURL(/\/keys/);
  await context.clearCookies();
  await page.goto(production.keyfold.url);
  await expect(page.getByRole('button', { name: /Continue with/ })).toBeVisible();
  expect(await keptKey(page)).toBeNull();

  // Also where nobody signed out: the session just ended.
  await signIn(page, production, 'anna');
  await goTo(page, 'Keys');
  await page.getByRole('link', { name: /CopilotKit/ }).click();
  await page.getByRole('button', { name: 'Replace' }).click();
  await page.getByLabel('CopilotKit API key').fill(production.standin.keys.copilotkit ?? '');
  await page.getByRole('button', { name: 'Check and replace' }).click();
  await expect.poll(() => keptKey(page)).toBe(production.standin.keys.copilotkit);
  await context.clearCookies();
  await page.goto(production.keyfold.url);
  await expect(page.getByRole('button', { name: /Continue with/ })).toBeVisible();
  expect(await keptKey(page)).toBeNull();
  await signIn(page, production, 'ben');
  expect(await keptKey(page)).toBeNull();
  await expect(page.getByRole('button', { name: 'Open the assistant' })).toHaveCount(0);
});

test('what somebody typed stays while they look around, and goes when they do', async ({
  page,
  context,
  production,
  watched,
}) => {
  const key = watched.typed(production.standin.keys.gemini);
  await signIn(page, production, 'anna');
  await page.getByLabel('Google Gemini API key').fill(key);
  await goTo(page, 'Keys');
  await goTo(page, 'Set up');
  await expect(page.getByLabel('Google Gemini API key')).toHaveValue(key);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByLabel('Google Gemini API key')).toBeHidden();
  await context.clearCookies();
  await signIn(page, production, 'ben');
  await expect(page.getByLabel('Google Gemini API key')).toHaveValue('');
});

test.describe('without access', () => {
  test.use({ expectedInConsole: [/status of 403/] });

  test('a person who was suspended reads so, and what to do', async ({ page, production }) => {
    await signIn(page, production, 'anna');
    await expect(page.getByLabel('Google Gemini API key')).toBeVisible();
    await production.operate('users', 'suspend', production.idOf('anna'));
    await goTo(page, 'Activity');
    await expect(page.getByText(/suspended/).first()).toBeVisible();
    await production.operate('users', 'resume', production.idOf('anna'));
    await page.getByRole('button', { name: 'Try again' }).first().click();
    await expect(page.getByText('No calls in this time')).toBeVisible();
  });
});

test.describe('after everything was deleted', () => {
  test.use({ expectedInConsole: [/status of 4(01|10)/] });

  test('an old session reads so, and a new one begins anew', async ({ page, context, production }) => {
    await signIn(page, production, 'anna');
    await saveKeys(page, { GEMINI_API_KEY: production.standin.keys.gemini ?? '' });
    const tab = await context.newPage();
    await tab.goto(`${production.keyfold.url}/keys`);
    await expect(tab.getByText(`****${production.standin.keys.gemini?.slice(-4)}`)).toBeVisible();

    await goTo(page, 'Account');
    await page.getByRole('button', { name: 'Delete everything…' }).click();
    const question = page.getByRole('dialog');
    const confirm = question.getByRole('button', { name: 'Delete everything' });
    await expect(confirm).toBeDisabled();
    await question.getByLabel(/Type “delete”/).fill('delet');
    await expect(confirm).toBeDisabled();
    await question.getByLabel(/Type “delete”/).fill('delete');
    await confirm.click();
    await expect(page).not.toHaveURL(/\/account/);

    // The other tab is signed out with it.
    await expect(tab).toHaveURL(/\/sign-in/);
    await context.clearCookies();
    await signIn(page, production, 'anna');
    await expect(page.getByLabel('Google Gemini API key')).toBeVisible();
    await goTo(page, 'Keys');
    await expect(page.getByText('No keys yet')).toBeVisible();
  });

  test('another device of the same person reads what happened', async ({
    page,
    production,
    anotherBrowser,
  }) => {
    await signIn(page, production, 'anna');
    await saveKeys(page, { GEMINI_API_KEY: production.standin.keys.gemini ?? '' });
    const device = await anotherBrowser();
    await signIn(device, production, 'anna');
    await expect(device.getByRole('heading', { name: 'See it work' })).toBeVisible();
    await goTo(page, 'Account');
    await page.getByRole('button', { name: 'Delete everything…' }).click();
    await page.getByLabel(/Type “delete”/).fill('delete');
    await page.getByRole('dialog').getByRole('button', { name: 'Delete everything' }).click();
    await expect(page).not.toHaveURL(/\/account/);
    await goTo(device, 'Activity');
    await expect(device.getByText(/deleted/).first()).toBeVisible();
  });
});

test('a key that cannot be read any more is to be entered again', async ({ page, production, watched }) => {
  const key = watched.typed(production.standin.keys.openai);
  await signIn(page, production, 'anna');
  await saveKeys(page, { GEMINI_API_KEY: production.standin.keys.gemini ?? '', OPENAI_API_KEY: key });
  await damageKey(production, 'openai');
  await page.goto(`${production.keyfold.url}/keys/openai`);
  await expect(page.getByText('This key has to be entered again')).toBeVisible();
  await expect(page.getByText('Enter again', { exact: true }).first()).toBeVisible();
  await expect(page.getByText(/Your OpenAI key cannot be read any more/)).toBeVisible();
  await expectAccessible(page);
  await page.getByLabel('OpenAI API key').fill(key);
  await page.getByRole('button', { name: 'Check and replace' }).click();
  await expect(page.getByText('Saved. It works.')).toBeVisible();
  await expect(page.getByText('This key has to be entered again')).toBeHidden();
});

interface Exported {
  keys: unknown[];
  usage: unknown[];
  activity: unknown[];
}

async function exported(page: Page): Promise<Exported> {
  await goTo(page, 'Account');
  const downloading = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download my data' }).click();
  const file = await (await downloading).path();
  return JSON.parse(await readFile(file, 'utf8'));
}

async function saveCopilotKitKey(page: Page, { standin }: PeopleAt) {
  await goTo(page, 'Keys');
  await page.goto(new URL('/keys/copilotkit', page.url()).href);
  await page.getByLabel('CopilotKit API key').fill(standin.keys.copilotkit ?? '');
  await page.getByRole('button', { name: 'Save key' }).click();
  await expect(page.getByRole('button', { name: 'Open the assistant' })).toBeVisible();
}

function keptKey(page: Page): Promise<string | null> {
  return page.evaluate(() => localStorage.getItem('copilotkit_api_key'));
}

/** As a fault of the disk, or a meddler, would. */
async function damageKey(production: PeopleAt, provider: string) {
  const user = production.idOf('anna');
  const changed = await inDatabase(
    production.database,
    `UPDATE api_keys SET key = 'damaged' WHERE provider = '${provider}'
       AND session_id = (SELECT id FROM onboarding_sessions WHERE user_id = '${user}')`,
  );
  expect(changed).toBe('UPDATE 1');
}
