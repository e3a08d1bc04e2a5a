/** What can be asked for; others are shown and cannot be chosen. */
export const ACTIONS = [
  'key.saved',
  'key.replaced',
  'key.rolled_back',
  'key.deleted',
  'key.checked',
  'key.opened',
  'key.ended',
  'key.released',
  'key.refused',
] as const;
export const OUTCOMES = [
  'ok',
  'valid',
  'limited',
  'rejected',
  'unverified',
  'failed',
  'abandoned',
  'conflict',
  'no_key',
  'unreadable',
  'rate_limited',
  'forbidden',
] as const;
export const DAYS = [7, 30, 90] as const;

export interface Filters {
  provider?: string;
  action?: (typeof ACTIONS)[number];
  outcome?: (typeof OUTCOMES)[number];
}

export type Days = (typeof DAYS)[number];

export interface Shown {
  days: Days;
  filters: Filters;
}

const USUAL_DAYS: Days = 30;

/** What the address asks for; anything else in it is dropped. */
export function shownBy(search: URLSearchParams): Shown {
  const days = DAYS.find((known) => String(known) === search.get('days')) ?? USUAL_DAYS;
  return { days, filters: filtersOf(Object.fromEntries(search)) };
}

export function filtersOf({ provider, ...chosen }: Record<string, string>): Filters {
  const action = ACTIONS.find((known) => known === chosen.action);
  const outcome = OUTCOMES.find((known) => known === chosen.outcome);
  return {
    ...(provider && /^[a-z0-9][a-z0-9_-]{0,49}$/.test(provider) ? { provider } : {}),
    ...(action ? { action } : {}),
    ...(outcome ? { outcome } : {}),
  };
}

/** The other way round. What is usual is not said. */
export function searchOf({ days, filters }: Shown): Record<string, string> {
  return { ...filters, ...(days === USUAL_DAYS ? {} : { days: String(days) }) };
}
