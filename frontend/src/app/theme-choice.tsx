import { Monitor, Moon, Sun } from 'lucide-react';
import { useState } from 'react';
import { forget, keep } from '@/shared/storage';
import { texts } from '@/texts';

type Theme = 'system' | 'light' | 'dark';

const NEXT: Record<Theme, Theme> = { system: 'light', light: 'dark', dark: 'system' };
const ICONS = { system: Monitor, light: Sun, dark: Moon };
// public/theme.js reads it before the first paint.
const STORED_AS = 'keyfold-theme';

/** Light, dark, or as the system has it. */
export function ThemeChoice() {
  const [theme, setTheme] = useState(chosen);
  const Icon = ICONS[theme];
  const choose = () => {
    const next = NEXT[theme];
    setTheme(next);
    apply(next);
  };
  const label = `${texts.common.theme.label}: ${texts.common.theme[theme]}`;
  return (
    <button
      type="button"
      onClick={choose}
      aria-label={label}
      title={label}
      className="rounded-lg p-2 text-ink-soft hover:bg-sunken"
    >
      <Icon aria-hidden="true" className="size-5" />
    </button>
  );
}

function chosen(): Theme {
  const { theme } = document.documentElement.dataset;
  return theme === 'light' || theme === 'dark' ? theme : 'system';
}

function apply(theme: Theme) {
  const { dataset } = document.documentElement;
  if (theme === 'system') {
    delete dataset.theme;
    forget(STORED_AS);
  } else {
    dataset.theme = theme;
    keep(STORED_AS, theme);
  }
}
