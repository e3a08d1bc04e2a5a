import { type KeyboardEvent, type ReactNode, useId, useRef } from 'react';
import { classes } from '@/shared/classes';

interface TabOf<Value extends string> {
  value: Value;
  label: ReactNode;
  content: ReactNode;
}

type Props<Value extends string> = {
  /** What the tabs choose between, for those who do not see it. */
  label: string;
  tabs: readonly TabOf<Value>[];
  value: Value;
  onChange: (value: Value) => void;
  size?: 'small' | 'usual';
};

/**
 * Several contents in one place; the arrow keys go from one to the next, Home and End to the first and the last
 * (https://www.w3.org/WAI/ARIA/apg/patterns/tabs/).
 */
export function Tabs<Value extends string>({ label, tabs, value, onChange, size = 'usual' }: Props<Value>) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const look = classes(
    'whitespace-nowrap border-transparent border-b-2 font-medium text-ink-soft transition-colors hover:text-ink',
    'aria-selected:border-brand aria-selected:text-brand-strong',
    size === 'small' ? 'px-2.5 py-1.5 text-sm' : 'px-3 py-2.5 text-sm sm:px-4',
  );
  const move = (event: KeyboardEvent) => {
    const place = placeAfter(
      event,
      tabs.findIndex((tab) => tab.value === value),
      tabs.length,
    );
    const next = place === null ? undefined : tabs[place];
    if (!next || place === null) return;
    event.preventDefault();
    onChange(next.value);
    list.current?.querySelectorAll<HTMLElement>('[role=tab]')[place]?.focus();
  };
  const shown = tabs.find((tab) => tab.value === value);
  return (
    <div>
      <div
        ref={list}
        role="tablist"
        aria-label={label}
        onKeyDown={move}
        className="flex overflow-x-auto border-line border-b"
      >
        {tabs.map((tab) => (
          <button
            key={tab.value}
            id={`${id}-${tab.value}`}
            type="button"
            role="tab"
            aria-selected={tab.value === value}
            aria-controls={tab.value === value ? `${id}-panel` : undefined}
            tabIndex={tab.value === value ? 0 : -1}
            onClick={() => onChange(tab.value)}
            className={look}
          >
            {tab.label}
          </button>
        ))}
      </div>
      {shown && (
        <div
          key={shown.value}
          id={`${id}-panel`}
          role="tabpanel"
          aria-labelledby={`${id}-${shown.value}`}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what it shows may have nothing else to go to
          tabIndex={0}
          className={classes('rounded-lg', size === 'small' ? 'pt-3' : 'pt-6')}
        >
          {shown.content}
        </div>
      )}
    </div>
  );
}

/** Where a key leads from this place; null if nowhere. */
function placeAfter({ key, ctrlKey, altKey, metaKey }: KeyboardEvent, place: number, count: number) {
  if (ctrlKey || altKey || metaKey) return null;
  switch (key) {
    case 'ArrowRight':
      return (place + 1) % count;
    case 'ArrowLeft':
      return (place - 1 + count) % count;
    case 'Home':
      return 0;
    case 'End':
      return count - 1;
    default:
      return null;
  }
}
