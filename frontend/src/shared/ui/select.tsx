import { ChevronDown } from 'lucide-react';
import type { ComponentProps } from 'react';
import { classes } from '@/shared/classes';

/** The browser's own list: it works everywhere, also on phones. */
export function Select({ className, children, ...rest }: ComponentProps<'select'>) {
  return (
    <span className={classes('relative inline-flex', className)}>
      <select
        {...rest}
        className="min-h-10 w-full appearance-none rounded-lg border border-line-strong/60 bg-surface py-2 pr-9 pl-3 text-sm"
      >
        {children}
      </select>
      <ChevronDown
        aria-hidden="true"
        className="pointer-events-none absolute top-1/2 right-3 size-4 -translate-y-1/2"
      />
    </span>
  );
}
