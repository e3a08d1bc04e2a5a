import { Check, Copy } from 'lucide-react';
import { useEffect, useState } from 'react';
import { texts } from '@/texts';
import { Button } from './button';

/** Puts a text into the clipboard and says so. */
export function CopyButton({ text, label = texts.common.copy }: { text: string; label?: string }) {
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [isCopied]);
  const copy = () => navigator.clipboard.writeText(text).then(() => setCopied(true));
  const icon = isCopied ? (
    <Check aria-hidden="true" className="size-4" />
  ) : (
    <Copy aria-hidden="true" className="size-4" />
  );
  return (
    <Button size="small" kind="quiet" icon={icon} onClick={copy}>
      <span aria-live="polite">{isCopied ? texts.common.copied : label}</span>
    </Button>
  );
}
