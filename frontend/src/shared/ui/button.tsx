import type { ComponentProps, ReactNode } from 'react';
import { classes } from '@/shared/classes';
import { Spinner } from './spinner';

type Kind = 'primary' | 'plain' | 'quiet' | 'danger';

const LOOKS: Record<Kind, string> = {
  primary: 'bg-brand text-on-brand hover:bg-brand-strong',
  plain: 'border border-line-strong/60 bg-surface text-ink hover:bg-sunken',
  quiet: 'text-brand hover:bg-brand-soft',
  danger: 'border border-bad text-bad hover:bg-bad-soft',
};

/** The same look for links that do what a button would. */
export function buttonLook(kind: Kind = 'plain', size: 'small' | 'usual' = 'usual'): string {
  return classes(
    'inline-flex select-none items-center justify-center gap-2 rounded-lg font-medium transition-colors',
    'disabled:cursor-not-allowed disabled:opacity-55 aria-disabled:opacity-55',
    size === 'small' ? 'min-h-8 px-3 py-1 text-sm' : 'min-h-10 px-4 py-2 text-sm',
    LOOKS[kind],
  );
}

type Props = ComponentProps<'button'> & {
  kind?: Kind;
  size?: 'small' | 'usual';
  /** Shows that it is at work, and takes no clicks meanwhile; it keeps the focus. */
  busy?: boolean;
  icon?: ReactNode;
};

export function Button({
  kind = 'plain',
  size = 'usual',
  busy = false,
  icon,
  children,
  className,
  onClick,
  ...rest
}: Props) {
  return (
    <button
      type="button"
      {...rest}
      aria-disabled={busy || undefined}
      aria-busy={busy || undefined}
      onClick={busy ? (event) => event.preventDefault() : onClick}
      className={classes(buttonLook(kind, size), className)}
    >
      {busy ? <Spinner /> : icon}
      {children}
    </button>
  );
}
