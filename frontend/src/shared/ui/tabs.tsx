import { Tabs as Base } from '@base-ui/react/tabs';
import type { ReactNode } from 'react';
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

/** Several contents in one place; the arrow keys go from one to the next. */
export function Tabs<Value extends string>({ label, tabs, value, onChange, size = 'usual' }: Props<Value>) {
  const look = classes(
    'whitespace-nowrap border-transparent border-b-2 font-medium text-ink-soft transition-colors hover:text-ink',
    'data-[active]:border-brand data-[active]:text-brand-strong',
    size === 'small' ? 'px-2.5 py-1.5 text-sm' : 'px-3 py-2.5 text-sm sm:px-4',
  );
  return (
    <Base.Root value={value} onValueChange={onChange}>
      <Base.List aria-label={label} activateOnFocus className="flex overflow-x-auto border-line border-b">
        {tabs.map((tab) => (
          <Base.Tab key={tab.value} value={tab.value} className={look}>
            {tab.label}
          </Base.Tab>
        ))}
      </Base.List>
      {tabs.map((tab) => (
        <Base.Panel
          key={tab.value}
          value={tab.value}
          className={classes('rounded-lg', size === 'small' ? 'pt-3' : 'pt-6')}
        >
          {tab.content}
        </Base.Panel>
      ))}
    </Base.Root>
  );
}
