import { Dialog as Base } from '@base-ui/react/dialog';
import type { ReactNode } from 'react';

type Props = {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  title: ReactNode;
  description?: ReactNode;
  children?: ReactNode;
  /** The buttons, the one that changes nothing first. */
  actions: ReactNode;
  /** Whether closing gives the focus back; without it, it does. */
  givesFocusBack?: () => boolean;
};

/** A question or a form over the page. The focus stays inside, Escape closes, and the focus goes back. */
export function Dialog({ open, onOpenChange, title, description, children, actions, givesFocusBack }: Props) {
  return (
    <Base.Root open={open} onOpenChange={onOpenChange}>
      <Base.Portal>
        <Base.Backdrop className="fixed inset-0 z-20 bg-black/50" />
        <Base.Popup
          finalFocus={givesFocusBack ?? true}
          className="fixed inset-x-4 bottom-4 z-20 mx-auto max-h-[85dvh] max-w-lg overflow-y-auto rounded-2xl border border-line bg-surface p-5 shadow-xl sm:top-1/2 sm:bottom-auto sm:-translate-y-1/2 sm:p-6"
        >
          <Base.Title className="font-semibold text-lg">{title}</Base.Title>
          {description && (
            <Base.Description className="mt-2 text-ink-soft text-sm">{description}</Base.Description>
          )}
          {children && <div className="mt-4">{children}</div>}
          <div className="mt-6 flex flex-wrap justify-end gap-2">{actions}</div>
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
