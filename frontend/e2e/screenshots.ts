// Takes pictures of every view: in both modes, light and dark, wide and narrow.
import { fileURLToPath } from 'node:url';
import type { Page } from '@playwright/test';
import { generate, goTo, saveKeys } from './support/steps';
import { expect, signIn, test } from './support/test';
import { type Look, walk } from './support/views';

const FOLDER = fileURLToPath(new URL('../../target/screenshots', import.meta.url));
const README_FOLDER = fileURLToPath(new URL('../../docs/images', import.meta.url));
const THEMES = ['light', 'dark'] as const;
const WIDTHS = [1280, 390];

test.use({ expectedInConsole: [/status of 4\d\d|ERR_INTERNET_DISCONNECTED/] });

test('every view of local mode', async ({ page, local }) => {
  await page.goto(local.keyfold.url);
  await walk(page, local.standin, pictures(page, 'local'));
});

test('every view of production', async ({ page, production }) => {
  const look = pictures(page, 'production');
  await page.goto(production.keyfold.url);
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await look('sign-in');
  await signIn(page, production, 'anna');
  await walk(page, production.standin, look);
});

test.describe('README', () => {
  test.use({ viewport: { width: 1280, height: 800 } });

  test('README: from nothing to an answer', async ({ page, local: { keyfold, standin } }) => {
    const take = (name: string) =>
      page.screenshot({ path: `${README_FOLDER}/${name}.png`, animations: 'disabled' });
    await page.emulateMedia({ reducedMotion: 'reduce' });
    // The folder of a test is nobody's project.
    await page.route('**/api/config', async (route) => {
      const response = await route.fetch();
      const text = (await response.text()).replaceAll(keyfold.folder, '/home/you/project');
      await route.fulfill({ response, body: text });
    });
    await page.goto(keyfold.url);
    await page.getByLabel('Google Gemini API key').fill(standin.keys.gemini ?? '');
    await page.getByRole('button', { name: 'Test key' }).first().click();
    await expect(page.getByText('This key works.')).toBeVisible();
    await take('set-up');
    await page.getByLabel('Google Gemini API key').fill('');
    await saveKeys(page, {
      GEMINI_API_KEY: standin.keys.gemini ?? '',
      EXA_API_KEY: standin.keys.exa ?? '',
      OPENAI_API_KEY: `${standin.keys.openai?.slice(0, -8)}NOCREDIT`,
    });
    await goTo(page, 'Keys');
    await expect(page.getByRole('list', { name: 'Keys that are there' })).toBeVisible();
    await take('keys');
    // What the stand-in writes is not for reading.
    await page.route('**/api/generate', (route) =>
      route.fulfill({ contentType: 'text/event-stream', body: answerOf(ANSWER) }),
    );
    await page.setViewportSize({ width: 1280, height: 860 });
    await goTo(page, 'Try it');
    await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' });
    await page.getByRole('button', { name: /haiku/ }).click();
    await generate(page);
    await take('try-it');
  });
});

const ANSWER = 'One small key, held close,\nturns in every waiting lock.\nMorning walks right in.';

function answerOf(text: string): string {
  const done = {
    provider: 'gemini',
    model: 'gemini-flash-latest',
    usage: { input_tokens: 14, output_tokens: 19 },
  };
  return `event: delta\ndata: ${JSON.stringify({ text })}\n\nevent: done\ndata: ${JSON.stringify(done)}\n\n`;
}

function pictures(page: Page, mode: string): Look {
  return async (view) => {
    for (const width of WIDTHS) {
      // As high as the whole view, so that nothing is cut off.
      await page.setViewportSize({ width, height: 800 });
      const whole = await page.evaluate(() => document.documentElement.scrollHeight);
      await page.setViewportSize({ width, height: Math.max(800, whole) });
      for (const colorScheme of THEMES) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        const path = `${FOLDER}/${mode}/${view}-${colorScheme}-${width}.png`;
        await page.screenshot({ path, animations: 'disabled' });
      }
    }
    await page.setViewportSize({ width: 1280, height: 800 });
  };
}
