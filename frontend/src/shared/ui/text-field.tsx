import { type ComponentProps, type ReactNode, useId } from 'react';
import { classes } from '@/shared/classes';

/** What inputs look like. */
export const inputLook =
  'min-h-10 w-full rounded-lg border border-line-strong/60 bg-surface px-3 py-2 text-sm aria-invalid:border-bad';

type Props = ComponentProps<'input'> & { label: ReactNode; hint?: ReactNode; error?: ReactNode };

export function TextField({ label, hint, error, className, id, ...rest }: Props) {
  const own = useId();
  const name = id ?? own;
  return (
    <div className={classes('space-y-1.5', className)}>
      <label htmlFor={name} className="block font-medium text-sm">
        {label}
      </label>
      <input
        {...rest}
        id={name}
        aria-invalid={error ? true : undefined}
        aria-describedby={hint || error ? `${name}-help` : undefined}
        className={inputLook}
      />
      <FieldHelp id={`${name}-help`} hint={hint} error={error} />
    </div>
  );
}

/** What stands below a field; an error takes the hint's place and is read out. */
export function FieldHelp({ id, hint, error }: { id: string; hint?: ReactNode; error?: ReactNode }) {
  return (
    <p id={id} aria-live="polite" className={classes('text-sm', error ? 'text-bad' : 'text-ink-soft')}>
      {error || hint}
    </p>
  );
}
