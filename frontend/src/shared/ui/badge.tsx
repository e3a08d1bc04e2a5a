import type { ReactNode } from 'react';
import { classes } from '@/shared/classes';

export type BadgeTone = 'plain' | 'brand' | 'good' | 'warn' | 'bad';

const LOOKS: Record<BadgeTone, string> = {
  plain: 'bg-sunken text-ink-soft',
  brand: 'bg-brand-soft text-brand-strong',
  good: 'bg-good-soft text-good',
  warn: 'bg-warn-soft text-warn',
  bad: 'bg-bad-soft text-bad',
};

export function Badge({ tone = 'plain', children }: { tone?: BadgeTone; children: ReactNode }) {
  return (
    <span
      className={classes(
        'inline-flex items-center gap-1 whitespace-nowrap rounded-full px-2 py-0.5 font-medium text-xs',
        LOOKS[tone],
      )}
    >
      {children}
    </span>
  );
}
