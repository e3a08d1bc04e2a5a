import { CircleAlert, CircleCheck, Info, TriangleAlert } from 'lucide-react';
import type { ReactNode } from 'react';
import { classes } from '@/shared/classes';

type Tone = 'info' | 'good' | 'warn' | 'bad';

const LOOKS: Record<Tone, string> = {
  info: 'bg-brand-soft text-brand-strong',
  good: 'bg-good-soft text-good',
  warn: 'bg-warn-soft text-warn',
  bad: 'bg-bad-soft text-bad',
};
const ICONS = { info: Info, good: CircleCheck, warn: TriangleAlert, bad: CircleAlert };

type Props = {
  tone?: Tone;
  title?: ReactNode;
  children?: ReactNode;
  /** Read out when it appears: failures at once, others when the reader pauses. */
  live?: boolean;
  action?: ReactNode;
};

export function Notice({ tone = 'info', title, children, live = false, action }: Props) {
  const Icon = ICONS[tone];
  const role = live ? (tone === 'bad' ? 'alert' : 'status') : undefined;
  return (
    <div
      role={role}
      className={classes('flex gap-3 rounded-xl px-4 py-3 text-sm max-sm:flex-wrap', LOOKS[tone])}
    >
      <Icon aria-hidden="true" className="mt-0.5 size-4 shrink-0" />
      <div className="min-w-0 flex-1 space-y-1">
        {title && <p className="font-semibold">{title}</p>}
        {children && <div className="text-ink">{children}</div>}
      </div>
      {action && <div className="shrink-0 self-center max-sm:w-full max-sm:pl-7">{action}</div>}
    </div>
  );
}
