// Takes pictures of every view: in both modes, light and dark, wide and narrow.
import { fileURLToPath } from 'node:url';
import type { Page } from '@playwright/test';
import { expect, signIn, test } from './support/test';
import { type Look, walk } from './support/views';

const FOLDER = fileURLToPath(new URL('../../target/screenshots', import.meta.url));
const THEMES = ['light', 'dark'] as const;
const WIDTHS = [1280, 390];

test.use({ expectedInConsole: [/status of 4\d\d|ERR_INTERNET_DISCONNECTED/] });

test('local mode', async ({ page, local }) => {
  await page.goto(local.keyfold.url);
  await walk(page, local.standin, pictures(page, 'local'));
});

test('production', async ({ page, production }) => {
  const look = pictures(page, 'production');
  await page.goto(production.keyfold.url);
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await look('sign-in');
  await signIn(page, production, 'anna');
  await walk(page, production.standin, look);
});

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
