// Local mode, as a newcomer goes through it.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generate, goTo, paste, saveKeys } from './support/steps';
import { expect, expectAccessible, test } from './support/test';

test('from nothing to a streamed answer, with the keys in both .env files', async ({
  page,
  local: { keyfold, standin },
  watched,
}) => {
  const gemini = watched.typed(standin.keys.gemini);
  // It may stand in the browser: CopilotKit's key is public.
  const copilotKit = standin.keys.copilotkit ?? '';
  await page.goto(keyfold.url);
  await expect(page).toHaveURL(/\/onboarding$/);
  await expectAccessible(page);
  await page.getByLabel('Google Gemini API key').fill(gemini);
  await expect(page.getByText('Has the form of a Google Gemini key.')).toBeVisible();
  await page.getByRole('button', { name: 'Test key' }).first().click();
  await expect(page.getByText('This key works.')).toBeVisible();
  await page.getByRole('button', { name: /more providers/ }).click();
  await page.getByRole('button', { name: 'Add key for CopilotKit' }).click();
  await page.getByLabel('CopilotKit API key').fill(copilotKit);
  await page.getByRole('button', { name: 'Save and continue' }).click();
  await expect(page.getByRole('heading', { name: 'See it work' })).toBeVisible();
  await expect(page.getByText('Your 2 keys are saved')).toBeVisible();

  const backend = await readFile(join(keyfold.folder, '.env'), 'utf8');
  expect(backend).toContain(`GEMINI_API_KEY=${gemini}\n`);
  expect(backend).toContain(`COPILOTKIT_API_KEY=${copilotKit}\n`);
  const frontend = await readFile(join(keyfold.folder, 'frontend', '.env'), 'utf8');
  expect(frontend).toBe(`REACT_APP_COPILOTKIT_API_KEY=${copilotKit}\n`);

  await generate(page);
  await expectAccessible(page);
  await page.getByRole('button', { name: 'Finish', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'You are set up' })).toBeVisible();
  await page.goto(keyfold.url);
  await expect(page).toHaveURL(/\/keys$/);
});

test('a whole .env file, pasted into one field, finds its places', async ({
  page,
  local: { keyfold, standin },
  watched,
}) => {
  const [gemini, exa, openai] = ['gemini', 'exa', 'openai'].map((id) => watched.typed(standin.keys[id]));
  await page.goto(keyfold.url);
  const text = `# My keys
export GEMINI_API_KEY="${gemini}"
EXA_API_KEY=${exa} # research
REACT_APP_OPENAI_API_KEY='${openai}'
ANTHROPIC_API_KEY=your_key_here
DATABASE_URL=postgres://localhost/mine
`;
  await paste(page, 'Exa API key', text);
  await expect(page.getByText('3 keys found in what you pasted')).toBeVisible();
  await expect(page.getByText(/It stood in a front-end variable/)).toBeVisible();
  await expect(page.getByText('Without a key yet: ANTHROPIC_API_KEY')).toBeVisible();
  await expect(page.getByText('Not recognised: DATABASE_URL')).toBeVisible();
  await page.getByRole('button', { name: 'Save and continue' }).click();
  await expect(page.getByText('Your 3 keys are saved')).toBeVisible();
  const saved = (await readFile(join(keyfold.folder, '.env'), 'utf8')).trim().split('\n').sort();
  expect(saved).toEqual([`EXA_API_KEY=${exa}`, `GEMINI_API_KEY=${gemini}`, `OPENAI_API_KEY=${openai}`]);
});

test('the setup can be left, gone back in and skipped through', async ({
  page,
  context,
  local: { keyfold, standin },
}) => {
  await page.goto(keyfold.url);
  await saveKeys(page, { GEMINI_API_KEY: standin.keys.gemini ?? '' });
  // Where the user is, is known to the server: after a reload, and in another tab.
  await page.reload();
  await expect(page.getByRole('heading', { name: 'See it work' })).toBeVisible();
  const tab = await context.newPage();
  await tab.goto(keyfold.url);
  await expect(tab.getByRole('heading', { name: 'See it work' })).toBeVisible();

  await page.getByRole('link', { name: 'Back', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'Needed', exact: true })).toBeVisible();
  await page.goBack();
  await expect(page.getByRole('heading', { name: 'See it work' })).toBeVisible();
  await page.goForward();
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('button', { name: 'Skip and finish' }).click();
  await expect(page.getByRole('heading', { name: 'You are set up' })).toBeVisible();

  // The other tab hears of it when it is looked at again.
  await tab.bringToFront();
  await tab.evaluate(() => document.dispatchEvent(new Event('visibilitychange', { bubbles: true })));
  await expect(tab.getByRole('heading', { name: 'You are set up' })).toBeVisible();
  await page.getByRole('button', { name: 'Go through the setup again' }).click();
  await expect(page.getByRole('heading', { name: 'Needed', exact: true })).toBeVisible();
});

test('what is typed in one step is there after a look at another view’s step', async ({
  page,
  local: { keyfold, standin },
}) => {
  await page.goto(keyfold.url);
  await saveKeys(page, { GEMINI_API_KEY: standin.keys.gemini ?? '' });
  await page.getByRole('link', { name: 'Back', exact: true }).click();
  await page.getByLabel('Exa API key').fill('half of a k');
  await page.getByRole('link', { name: /Try it, now/ }).click();
  await expect(page.getByRole('heading', { name: 'See it work' })).toBeVisible();
  await page.goBack();
  await expect(page.getByLabel('Exa API key')).toHaveValue('half of a k');
});

test('an edit of .env by hand shows when the page is looked at again', async ({
  page,
  local: { keyfold, standin },
}) => {
  await page.goto(keyfold.url);
  await goTo(page, 'Keys');
  await expect(page.getByText('No keys yet')).toBeVisible();
  await writeFile(join(keyfold.folder, '.env'), `EXA_API_KEY=${standin.keys.exa}\n`);
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange', { bubbles: true })));
  const key = page.getByRole('list', { name: 'Keys that are there' }).getByRole('link', { name: /Exa/ });
  await expect(key).toContainText('from the .env file');
});

test.describe('with a key in the environment', () => {
  // Test data.
  test.use({
    localVariables: { GEMINI_API_KEY: 'AQ.TestDataOfTheEnvironment00000000000000000000000000ENVI' },
  });

  test('the page says that the variable comes before what is saved', async ({
    page,
    local: { keyfold, standin },
  }) => {
    await page.goto(`${keyfold.url}/keys/gemini`);
    await expect(page.getByText(/comes from an environment variable/)).toBeVisible();
    await expect(page.getByText('****ENVI')).toBeVisible();
    await page.getByRole('button', { name: 'Replace' }).click();
    await page.getByLabel('Google Gemini API key').fill(standin.keys.gemini ?? '');
    await page.getByRole('button', { name: 'Check and replace' }).click();
    await expect(page.getByText(/GEMINI_API_KEY comes before what is saved here/)).toBeVisible();
    expect(await readFile(join(keyfold.folder, '.env'), 'utf8')).toContain(standin.keys.gemini);
  });
});
