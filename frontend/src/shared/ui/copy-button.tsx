import { Check, Copy } from 'lucide-react';
import { useEffect, useState } from 'react';
import { texts } from '@/texts';
import { Button } from './button';

/** Puts a text into the clipboard and says so. */
export function CopyButton({ text, label = texts.common.copy }: { text: string; label?: string }) {
  const [said, setSaid] = useState<'copied' | 'notCopied' | null>(null);
  useEffect(() => {
    if (said === null) return;
    const timer = setTimeout(() => setSaid(null), said === 'copied' ? 2000 : 8000);
    return () => clearTimeout(timer);
  }, [said]);
  // A browser has no clipboard for a page that came without encryption, and may forbid it elsewhere.
  const copy = async () =>
    setSaid(
      (await navigator.clipboard?.writeText(text).then(
        () => 'copied' as const,
        () => 'notCopied' as const,
      )) ?? 'notCopied',
    );
  const icon =
    said === 'copied' ? (
      <Check aria-hidden="true" className="size-4" />
    ) : (
      <Copy aria-hidden="true" className="size-4" />
    );
  return (
    <Button size="small" kind="quiet" icon={icon} onClick={copy}>
      <span aria-live="polite">{said ? texts.common[said] : label}</span>
    </Button>
  );
}
