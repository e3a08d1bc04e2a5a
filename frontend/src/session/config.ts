import { KeyfoldClient } from '@keyfold/client';

/** Where Keyfold is: the address that the page was built for, or where it came from. */
export const baseUrl = __API_URL__ || window.location.origin;

/** What is known before anybody signed in. */
export type PublicConfig = Awaited<ReturnType<KeyfoldClient['config']>>;

export function fetchConfig(signal?: AbortSignal): Promise<PublicConfig> {
  return new KeyfoldClient({ baseUrl }).config({ signal });
}

/** The issuer's host, as people know it; null if there is none. */
export function hostOf({ issuer }: PublicConfig['auth']): string | null {
  return issuer && URL.canParse(issuer) ? new URL(issuer).host : null;
}
