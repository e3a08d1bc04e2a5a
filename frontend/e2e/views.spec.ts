// Every view, in every state of it: without a violation that axe knows of, and without anything that sticks out.
import type { Page } from '@playwright/test';
import { expect, expectAccessible, expectSignedIn, signIn, test } from './support/test';
import { type Look, walk } from './support/views';

// Chromium tells of each answer that the walk brings about: a refused key, a call with it, an address that is none, and the network gone.
test.use({ expectedInConsole: [/status of 4(04|22|24)|ERR_INTERNET_DISCONNECTED/] });
test.setTimeout(240_000);

test('local mode holds for everybody, light and dark, wide and narrow', async ({ page, local }) => {
  await page.goto(local.keyfold.url);
  await walk(page, local.standin, inspection(page, LOCAL));
});

test('production holds for everybody, light and dark, wide and narrow', async ({ page, production }) => {
  const look = inspection(page, PRODUCTION);
  await page.goto(production.keyfold.url);
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  await look('sign-in');
  await signIn(page, production, 'anna');
  await walk(page, production.standin, look);
  await expectSignedIn(page);
});

/** Wide and narrow: one way round in local mode, the other in production, so that the two together see all. */
const LOCAL = { 390: ['dark'], 1280: ['light'] } as const;
const PRODUCTION = { 390: ['light'], 1280: ['dark'] } as const;

function inspection(page: Page, themes: typeof LOCAL | typeof PRODUCTION): Look {
  return (view) =>
    test.step(view, async () => {
      for (const width of [390, 1280] as const) {
        await page.setViewportSize({ width, height: 800 });
        await expectAccessible(page, themes[width]);
      }
      // The narrowest there is, and as a page enlarged four times looks.
      await page.setViewportSize({ width: 320, height: 640 });
      const tooWide = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect(tooWide, `${view} at 320 px`).toBeLessThanOrEqual(0);
      await page.setViewportSize({ width: 1280, height: 800 });
    });
}
