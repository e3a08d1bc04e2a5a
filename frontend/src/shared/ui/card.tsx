import type { ComponentProps } from 'react';
import { classes } from '@/shared/classes';

export function Card({ className, ...rest }: ComponentProps<'section'>) {
  return (
    <section
      {...rest}
      className={classes('rounded-2xl border border-line bg-surface p-4 sm:p-5', className)}
    />
  );
}
