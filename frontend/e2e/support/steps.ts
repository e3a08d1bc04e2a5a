// What people do on the page, in the words that stand there.
import { expect, type Page } from '@playwright/test';

/** Pastes through the browser's clipboard, as people do. */
export async function paste(page: Page, label: string, text: string) {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.evaluate((copied) => navigator.clipboard.writeText(copied), text);
  await page.getByLabel(label).focus();
  await page.keyboard.press('Control+V');
}

/** Another view, by the page's own links: the document stays. */
export async function goTo(page: Page, name: 'Set up' | 'Keys' | 'Try it' | 'Activity' | 'Account') {
  const pages = page.getByRole('navigation', { name: 'Pages' });
  await pages.getByRole('link', { name, exact: true }).click();
  await expect(pages.getByRole('link', { name, exact: true })).toHaveAttribute('aria-current', 'page');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
}

/** The first step of the setup with these keys, pasted as a `.env` block. */
export async function saveKeys(page: Page, variables: Record<string, string>) {
  const block = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  await paste(page, 'Google Gemini API key', block.join('\n'));
  await page.getByRole('button', { name: 'Save and continue' }).click();
  await expect(page.getByRole('heading', { name: 'See it work' })).toBeVisible();
}

/** An answer, written to its end. */
export async function generate(page: Page) {
  await page.getByRole('button', { name: /^Generate/ }).click();
  await expect(page.getByText(/tokens? in, .* out$/)).toBeVisible();
}
