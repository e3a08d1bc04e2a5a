import type { ReactNode } from 'react';

/** In place of the package: the chat has a renderer of its own; this one would bring diagrams and 200 languages. */
export function Streamdown({ children }: { children?: ReactNode }) {
  return <div>{children}</div>;
}
