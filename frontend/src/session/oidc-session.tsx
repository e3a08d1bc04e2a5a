import type { ReactNode } from 'react';
import type { PublicConfig } from './config';

type Props = { auth: PublicConfig['auth']; waiting: ReactNode; children: ReactNode };

export function OidcSession({ waiting }: Props) {
  return waiting;
}
