import { type ComponentProps, type ReactNode, useId } from 'react';
import { classes } from '@/shared/classes';

/** What inputs look like. */
export const inputLook =
  'min-h-10 w-full rounded-lg border border-line-strong/60 bg-surface px-3 py-2 text-sm aria-invalid:border-bad';

type Around = { label: ReactNode; hint?: ReactNode; error?: ReactNode; className?: string; id?: string };

export function TextField({ label, hint, error, className, id, ...rest }: ComponentProps<'input'> & Around) {
  return (
    <Field around={{ label, hint, error, className, id }}>
      {(own) => <input {...rest} {...own} className={inputLook} />}
    </Field>
  );
}

/** Several lines of text; it grows with what is typed. */
export function TextArea({
  label,
  hint,
  error,
  className,
  id,
  ...rest
}: ComponentProps<'textarea'> & Around) {
  const look = classes(inputLook, 'field-sizing-content max-h-96 min-h-24 resize-y leading-relaxed');
  return (
    <Field around={{ label, hint, error, className, id }}>
      {(own) => <textarea {...rest} {...own} className={look} />}
    </Field>
  );
}

type Own = { id: string; 'aria-invalid': true | undefined; 'aria-describedby': string | undefined };
type FieldProps = {
  around: { [Part in keyof Around]: Around[Part] | undefined };
  children: (own: Own) => ReactNode;
};

/** A label above, a hint or an error below, and both said of what is between them. */
function Field({ around: { label, hint, error, className, id }, children }: FieldProps) {
  const generated = useId();
  const name = id ?? generated;
  const help = `${name}-help`;
  return (
    <div className={classes('space-y-1.5', className)}>
      <label htmlFor={name} className="block font-medium text-sm">
        {label}
      </label>
      {children({
        id: name,
        'aria-invalid': error ? true : undefined,
        'aria-describedby': hint || error ? help : undefined,
      })}
      <FieldHelp id={help} hint={hint} error={error} />
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
