import { type ComponentProps, type ReactNode, useId } from 'react';
import { classes } from '@/shared/classes';
import { FieldHelp, inputLook } from './text-field';

type Props = ComponentProps<'textarea'> & { label: ReactNode; hint?: ReactNode; error?: ReactNode };

/** Several lines of text; it grows with what is typed. */
export function TextArea({ label, hint, error, className, id, ...rest }: Props) {
  const own = useId();
  const name = id ?? own;
  return (
    <div className={classes('space-y-1.5', className)}>
      <label htmlFor={name} className="block font-medium text-sm">
        {label}
      </label>
      <textarea
        {...rest}
        id={name}
        aria-invalid={error ? true : undefined}
        aria-describedby={hint || error ? `${name}-help` : undefined}
        className={classes(inputLook, 'field-sizing-content max-h-96 min-h-24 resize-y leading-relaxed')}
      />
      <FieldHelp id={`${name}-help`} hint={hint} error={error} />
    </div>
  );
}
