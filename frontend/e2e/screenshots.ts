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
    for (const colorScheme of THEMES) {
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: width > 800 ? 800 : 844 });
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        await page.screenshot({
          path: `${FOLDER}/${mode}/${view}-${colorScheme}-${width}.png`,
          fullPage: true,
          animations: 'disabled',
        });
      }
    }
    await page.setViewportSize({ width: 1280, height: 800 });
  };
}
