import type { ReactNode } from 'react';

type Props = { publishableKey: string; waiting: ReactNode; children: ReactNode };

export function ClerkSession({ waiting }: Props) {
  return waiting;
}
