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

export interface ActivitySearch extends Filters {
  days?: (typeof DAYS)[number];
}

/** What the address says of this view; anything else in it is dropped. */
export function activitySearch(search: Record<string, unknown>): ActivitySearch {
  const action = ACTIONS.find((known) => known === search.action);
  const outcome = OUTCOMES.find((known) => known === search.outcome);
  const days = DAYS.find((known) => known === Number(search.days));
  const { provider } = search;
  return {
    ...(typeof provider === 'string' && /^[a-z0-9][a-z0-9_-]{0,49}$/.test(provider) ? { provider } : {}),
    ...(action ? { action } : {}),
    ...(outcome ? { outcome } : {}),
    ...(days ? { days } : {}),
  };
}
