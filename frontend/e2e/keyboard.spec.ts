// Without a mouse.
import type { Page } from '@playwright/test';
import { expect, test } from './support/test';

test('from the first Tab to the saved key and the answer, by keyboard alone', async ({
  page,
  local: { keyfold, standin },
  watched,
}) => {
  const key = watched.typed(standin.keys.gemini);
  await page.goto(`${keyfold.url}/onboarding`);
  await expect(page.getByLabel('Google Gemini API key')).toBeVisible();
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to the content' })).toBeFocused();
  await expectVisibleFocus(page);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('main')).toBeFocused();

  await tabTo(page, 'Google Gemini API key');
  await expectVisibleFocus(page);
  await page.keyboard.type(key);
  await tabTo(page, 'Show the Google Gemini key');
  await page.keyboard.press('Space');
  await expect(page.getByLabel('Google Gemini API key')).toHaveAttribute('type', 'text');
  await page.keyboard.press('Space');
  await tabTo(page, 'Test key');
  await expectVisibleFocus(page);
  await page.keyboard.press('Enter');
  await expect(page.getByText('This key works.')).toBeVisible();
  await tabTo(page, 'Save and continue');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'See it work' })).toBeVisible();
  // Whoever listens goes on at the new step.
  await expect(page.getByRole('region', { name: 'Step 2 of 3' })).toBeFocused();
  await tabTo(page, 'Generate');
  await page.keyboard.press('Enter');
  await expect(page.getByText(/tokens? in, .* out$/)).toBeVisible();
});

test('each stop of the Tab key can be seen', async ({ page, local: { keyfold } }) => {
  await page.goto(`${keyfold.url}/keys/openai`);
  await expect(page.getByLabel('OpenAI API key')).toBeVisible();
  await expect(page.getByText('Nothing yet.')).toBeVisible();
  const first = page.getByRole('link', { name: 'Skip to the content' });
  await page.keyboard.press('Tab');
  await expect(first).toBeFocused();
  const stops: string[] = [];
  do {
    await expectVisibleFocus(page);
    stops.push(await focusedName(page));
    await page.keyboard.press('Tab');
  } while (!(await isAtEnd(page)));
  expect(stops).toEqual(expect.arrayContaining(['Keys', 'OpenAI API key', 'Save key']));
});

test('without motion for those who want none', async ({ page, local: { keyfold } }) => {
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await page.goto(keyfold.url);
  await expect(page.getByLabel('Google Gemini API key')).toBeVisible();
  const longest = await page.evaluate(() => {
    const lengths = [...document.querySelectorAll('*')].flatMap((element) => {
      const { transitionDuration, animationDuration } = getComputedStyle(element);
      return [transitionDuration, animationDuration].join(',').split(',').map(Number.parseFloat);
    });
    return Math.max(...lengths);
  });
  expect(longest).toBeLessThan(0.001);
});

/** Goes on with Tab until it is there; a keyboard has no other way. */
async function tabTo(page: Page, name: string) {
  for (let step = 0; step < 60; step += 1) {
    await page.keyboard.press('Tab');
    if ((await focusedName(page)).startsWith(name)) return;
  }
  throw new Error(`Tab never comes to “${name}”`);
}

function focusedName(page: Page): Promise<string> {
  return page.evaluate(() => {
    const element = document.activeElement;
    const label = element instanceof HTMLInputElement ? element.labels?.[0]?.textContent : null;
    return (label ?? element?.getAttribute('aria-label') ?? element?.textContent ?? '').trim();
  });
}

function isAtEnd(page: Page): Promise<boolean> {
  return page.evaluate(() => document.activeElement === document.body || !document.hasFocus());
}

async function expectVisibleFocus(page: Page) {
  const look = await page.evaluate(() => {
    const element = document.activeElement ?? document.body;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const { width, height } = element.getBoundingClientRect();
    return { outlineStyle, outlineWidth, isLarge: width > 4 && height > 4 };
  });
  expect(look).toEqual({ outlineStyle: 'solid', outlineWidth: '2px', isLarge: true });
}
