const PARTS = ['generate', 'research', 'code'] as const;

export type Part = (typeof PARTS)[number];

export interface TryItSearch {
  part?: Part;
}

/** What the address says of this view; anything else in it is dropped. */
export function tryItSearch({ part }: Record<string, unknown>): TryItSearch {
  const known = PARTS.find((one) => one === part);
  return known ? { part: known } : {};
}
