// What every test in a browser has: a Keyfold of its own, and a look at what must hold everywhere.
import { AxeBuilder } from '@axe-core/playwright';
import { type BrowserContext, test as base, expect, type Page } from '@playwright/test';
import { type Keyfold, type Production, type Standin, startKeyfold, startProduction, startStandin } from './servers';

export { expect };

export interface Local {
  keyfold: Keyfold;
  standin: Standin;
}

interface Fixtures {
  /** A Keyfold in local mode, in a folder of its own. */
  local: Local;
  /** A Keyfold in production. */
  production: Production;
  /** A browser of another person, watched as the first one is. */
  anotherBrowser: () => Promise<Page>;
  /** Hosts that the page may reach besides Keyfold's own. */
  allowedHosts: string[];
  /** Texts of the browser's console that the test brings about itself. */
  expectedInConsole: RegExp[];
  watched: Watch;
}

/** What nobody may find in a browser. */
interface Watch {
  /** Keys that were typed: none of them may stay anywhere. */
  secrets: string[];
  watch: (context: BrowserContext) => void;
  check: () => Promise<void>;
}

export const test = base.extend<Fixtures>({
  allowedHosts: [[], { option: true }],
  expectedInConsole: [[], { option: true }],
  // biome-ignore lint/correctness/noEmptyPattern: Playwright asks for it
  local: async ({}, use) => {
    const standin = await startStandin();
    const keyfold = await startKeyfold({ ...standin.providers });
    await use({ keyfold, standin });
    await keyfold.stop();
    await standin.stop();
  },
  // biome-ignore lint/correctness/noEmptyPattern: Playwright asks for it
  production: async ({}, use) => {
    const production = await startProduction();
    await use(production);
    await production.stop();
  },
  anotherBrowser: async ({ browser, watched }, use) => {
    const opened: BrowserContext[] = [];
    await use(async () => {
      const context = await browser.newContext();
      opened.push(context);
      watched.watch(context);
      return context.newPage();
    });
    await Promise.all(opened.map((context) => context.close()));
  },
  watched: [
    async ({ context, allowedHosts, expectedInConsole }, use) => {
      const watch = watchOver(allowedHosts, expectedInConsole);
      watch.watch(context);
      await use(watch);
      await watch.check();
    },
    { auto: true },
  ],
});

function watchOver(allowedHosts: string[], expectedInConsole: RegExp[]): Watch {
  const contexts: BrowserContext[] = [];
  const secrets: string[] = [];
  const faults: string[] = [];
  const isExpected = (text: string) => expectedInConsole.some((pattern) => pattern.test(text));
  return {
    secrets,
    watch: (context) => {
      contexts.push(context);
      context.on('console', (message) => {
        const text = message.text();
        if (['error', 'warning'].includes(message.type()) && !isExpected(text)) faults.push(`console: ${text}`);
      });
      context.on('weberror', (error) => faults.push(`script: ${error.error().message}`));
      context.on('request', (request) => {
        const url = new URL(request.url());
        const isLocal = ['127.0.0.1', 'localhost', ''].includes(url.hostname);
        if (!isLocal && !allowedHosts.includes(url.hostname)) faults.push(`request to ${url.hostname}`);
        if (secrets.some((secret) => url.href.includes(secret))) faults.push(`a key in ${url.pathname}`);
      });
    },
    check: async () => {
      const pages = contexts.flatMap((context) => context.pages()).filter((page) => page.url().startsWith('http'));
      for (const page of pages) {
        const kept = await everythingKept(page);
        for (const secret of secrets) if (kept.includes(secret)) faults.push(`a key is kept at ${page.url()}`);
      }
      expect(faults).toEqual([]);
    },
  };
}

/** All that the browser keeps, and what stands in the page. */
async function everythingKept(page: Page): Promise<string> {
  const cookies = JSON.stringify(await page.context().cookies());
  const inPage = await page.evaluate(async () => {
    const { copilotkit_api_key: _, ...local } = { ...localStorage };
    const databases = await indexedDB.databases();
    const fields = [...document.querySelectorAll('input, textarea')].map((field) => (field as HTMLInputElement).value);
    return JSON.stringify([local, { ...sessionStorage }, databases, fields, document.documentElement.outerHTML]);
  });
  return cookies + inPage + page.url();
}

/** No violation that axe knows of, in light and dark. */
export async function expectAccessible(page: Page) {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const { violations } = await new AxeBuilder({ page }).analyze();
    const told = violations.map(({ id, nodes }) => `${colorScheme}: ${id}: ${nodes.map((node) => node.html).join(' | ')}`);
    expect(told).toEqual([]);
  }
}

/** Signs in at the OpenID provider's own page. */
export async function signIn(page: Page, { keyfold }: Production, user: string) {
  await page.goto(keyfold.url);
  await page.getByRole('button', { name: /Continue with/ }).click();
  await enterAtIssuer(page, user);
  await page.waitForURL(`${keyfold.url}/**`);
}

/** Fills the OpenID provider's own forms: who, and that the page may know. */
export async function enterAtIssuer(page: Page, user: string) {
  await page.getByPlaceholder('Enter any login').fill(user);
  await page.getByPlaceholder('and password').fill('test data');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
}
