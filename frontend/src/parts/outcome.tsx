import { useIsOnline } from '@/shared/network';
import { Notice } from '@/shared/ui/notice';
import { texts } from '@/texts';

/** What came of testing or saving a key, in words, and what to do now. */
export interface Outcome {
  tone: 'info' | 'good' | 'warn' | 'bad';
  title: string;
  /** What is known besides, each a sentence or two. */
  lines: string[];
  /** Whether another key is needed. */
  needsNewKey?: boolean;
  /** Whether there only was no network; then it says nothing any more once there is one. */
  isOfNoNetwork?: boolean;
}

/** Where even the words for it could not be loaded. Then nothing was done. */
export function outcomeOfNothing(): Outcome {
  return { tone: 'warn', title: texts.common.crash.part, lines: [] };
}

export function OutcomeNotice({
  outcome: { tone, title, lines, isOfNoNetwork = false },
}: {
  outcome: Outcome;
}) {
  const isOnline = useIsOnline();
  if (isOfNoNetwork && isOnline) return null;
  return (
    <Notice tone={tone} title={title} live>
      {lines.length > 0 && lines.map((line) => <p key={line}>{line}</p>)}
    </Notice>
  );
}
