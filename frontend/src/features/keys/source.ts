import type { Key } from '@keyfold/client';
import { texts } from '@/texts';

/** Where a key comes from, in words. */
export function sourceOf({ source }: Key): string {
  const words: Record<string, string> = texts.keyParts.source;
  return words[source] ?? source;
}
