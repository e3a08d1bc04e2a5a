import type { ReactNode } from 'react';

type Props = {
  icon?: ReactNode;
  title: ReactNode;
  /** A heading where nothing else heads the view. */
  titleAs?: 'p' | 'h1';
  children?: ReactNode;
  action?: ReactNode;
};

export function Empty({ icon, title, titleAs: Title = 'p', children, action }: Props) {
  return (
    <div className="flex flex-col items-center gap-2 rounded-2xl border border-line border-dashed px-6 py-12 text-center">
      {icon && <div className="mb-1 text-ink-soft">{icon}</div>}
      <Title className="font-semibold">{title}</Title>
      {children && <div className="max-w-md text-ink-soft text-sm">{children}</div>}
      {action && <div className="mt-3">{action}</div>}
    </div>
  );
}
