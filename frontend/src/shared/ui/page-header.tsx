import { type ReactNode, useEffect } from 'react';
import { texts } from '@/texts';

type Props = {
  title: string;
  lead?: ReactNode;
  /** What stands for the thing that the view is about. */
  mark?: ReactNode;
  /** How it stands with it. */
  badge?: ReactNode;
  actions?: ReactNode;
};

/** The head of a view, which also names the tab. */
export function PageHeader({ title, lead, mark, badge, actions }: Props) {
  useEffect(() => {
    document.title = `${title} · ${texts.common.product}`;
  }, [title]);
  return (
    <div className="mb-6 flex flex-wrap items-end justify-between gap-4">
      <div className="max-w-2xl">
        <div className="flex items-center gap-3">
          {mark}
          <h1 className="text-balance font-semibold text-2xl tracking-tight sm:text-3xl">{title}</h1>
          {badge}
        </div>
        {lead && <p className="mt-2 text-ink-soft">{lead}</p>}
      </div>
      {actions}
    </div>
  );
}
