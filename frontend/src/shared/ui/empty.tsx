import type { ReactNode } from 'react';

type Props = {
  icon?: ReactNode;
  title: ReactNode;
  children?: ReactNode;
  action?: ReactNode;
  /** Whether it is all that a view shows. */
  isView?: boolean;
};

export function Empty({ icon, title, children, action, isView = false }: Props) {
  const Title = isView ? 'h1' : 'p';
  return (
    <div className="flex flex-col items-center gap-2 rounded-2xl border border-line border-dashed px-6 py-12 text-center">
      {icon && <div className="mb-1 text-ink-soft">{icon}</div>}
      <Title className="font-semibold">{title}</Title>
      {children && <div className="max-w-md text-ink-soft text-sm">{children}</div>}
      {action && <div className="mt-3">{action}</div>}
    </div>
  );
}
