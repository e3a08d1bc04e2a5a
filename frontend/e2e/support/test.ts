// What every test in a browser has: a Keyfold of its own, and a look at what must hold everywhere.
import { AxeBuilder } from '@axe-core/playwright';
import { type BrowserContext, test as base, expect, type Page } from '@playwright/test';
import {
  type Keyfold,
  type Production,
  type Standin,
  startKeyfold,
  startProduction,
  startStandin,
} from './servers';
import { Watch } from './watch';

export { expect };

export interface Local {
  keyfold: Keyfold;
  standin: Standin;
}

interface Fixtures {
  /** A Keyfold in local mode, in a folder of its own. */
  local: Local;
  /** Further variables of the environment that it is started with. */
  localVariables: Record<string, string>;
  /** A Keyfold in production, where nobody has been before: the people are those of this test. */
  production: PeopleAt;
  /** A browser of another person, watched as the first one is. */
  anotherBrowser: () => Promise<Page>;
  /** Hosts that the page may reach besides Keyfold's own. */
  allowedHosts: string[];
  /** Texts of the browser's console that the test brings about itself. */
  expectedInConsole: RegExp[];
  watched: Watch;
}

/** Production, and the ids that this test's people have there. */
export interface PeopleAt extends Production {
  idOf: (name: string) => string;
}

/** What the tests of one worker share. */
interface Shared {
  standin: Standin;
  sharedProduction: Production;
}

export const test = base.extend<Fixtures, Shared>({
  allowedHosts: [[], { option: true }],
  expectedInConsole: [[], { option: true }],
  localVariables: [{}, { option: true }],
  standin: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants to see what a fixture needs
    async ({}, use) => {
      const standin = await startStandin();
      await use(standin);
      await standin.stop();
    },
    { scope: 'worker' },
  ],
  sharedProduction: [
    async ({ standin }, use) => {
      const production = await startProduction(standin);
      await use(production);
      await production.stop();
    },
    { scope: 'worker' },
  ],
  local: async ({ watched, standin, localVariables }, use) => {
    const keyfold = await startKeyfold({ ...standin.providers, ...localVariables });
    await use({ keyfold, standin });
    await watched.check();
    await keyfold.stop();
  },
  production: async ({ watched, sharedProduction }, use, { testId }) => {
    watched.issuer = sharedProduction.issuer.url;
    await use({ ...sharedProduction, idOf: (name) => `${name}-${testId.slice(-8)}` });
    await watched.check();
  },
  anotherBrowser: async ({ browser, watched }, use) => {
    const opened: BrowserContext[] = [];
    await use(async () => {
      const context = await browser.newContext();
      opened.push(context);
      watched.over(context);
      return context.newPage();
    });
    await Promise.all(opened.map((context) => context.close()));
  },
  watched: [
    async ({ context, allowedHosts, expectedInConsole }, use) => {
      const watch = new Watch(allowedHosts, expectedInConsole);
      watch.over(context);
      await use(watch);
    },
    { auto: true },
  ],
});

const THEMES = ['light', 'dark'] as const;

/** No violation that axe knows of, in light and dark. */
export async function expectAccessible(page: Page, themes: readonly (typeof THEMES)[number][] = THEMES) {
  // A question over the page takes the rest of it away.
  await expect(page.getByRole('heading').first()).toBeVisible();
  for (const colorScheme of themes) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const { violations } = await new AxeBuilder({ page }).analyze();
    const told = violations.map(
      ({ id, nodes }) =>
        `${colorScheme}: ${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`,
    );
    expect(told).toEqual([]);
  }
}

/** Signs in at the OpenID provider's own page. */
export async function signIn(page: Page, { keyfold, idOf }: PeopleAt, name: string) {
  await page.goto(keyfold.url);
  await page.getByRole('button', { name: /Continue with/ }).click();
  await enterAtIssuer(page, idOf(name));
  await expectSignedIn(page);
}

/** Waits until the page knows the person: after signing in, and after each new start of the page. */
export async function expectSignedIn(page: Page) {
  await expect(page.getByRole('button', { name: 'Sign out' })).toBeVisible();
}

/** Fills the OpenID provider's own forms: who, and that the page may know. */
export async function enterAtIssuer(page: Page, user: string) {
  await page.getByPlaceholder('Enter any login').fill(user);
  await page.getByPlaceholder('and password').fill('test data');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
}
