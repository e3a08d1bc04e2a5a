const PARTS = ['generate', 'research', 'code'] as const;

export type Part = (typeof PARTS)[number];

/** Which part the address names; the first one unless it is one of them. */
export function partOf(search: URLSearchParams): Part {
  return PARTS.find((part) => part === search.get('part')) ?? PARTS[0];
}
