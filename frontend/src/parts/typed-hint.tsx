import type { Provider } from '@keyfold/client';
import { CircleCheck, TriangleAlert } from 'lucide-react';
import type { ReactNode } from 'react';
import { classes } from '@/shared/classes';
import { Button } from '@/shared/ui/button';
import { texts } from '@/texts';
import { appearance } from './key-shape';

type Props = {
  provider: Provider;
  providers: readonly Provider[];
  value: string;
  onMove?: ((owner: Provider) => void) | undefined;
  /** What is said of a field that is empty. */
  usual: ReactNode;
};

/** What a key looks like before its provider is asked. */
export function TypedHint({ provider, providers, value, onMove, usual }: Props) {
  const { name } = provider;
  const { hints } = texts.typedKey;
  const seen = appearance(value, provider, providers);
  switch (seen.kind) {
    case 'empty':
      return usual;
    case 'known':
      return <Said tone="good">{hints.known(name)}</Said>;
    case 'unknown':
      return <Said tone="plain">{hints.unknown(name, provider.format_hint)}</Said>;
    case 'foreign':
      return (
        <>
          <Said tone="bad">{hints.foreign(seen.owner.name, name)}</Said>
          {onMove && (
            <Button size="small" kind="quiet" onClick={() => onMove(seen.owner)}>
              {hints.move(seen.owner.name)}
            </Button>
          )}
        </>
      );
    case 'refused':
      return <Said tone="bad">{hints.refused(seen.why)}</Said>;
    case 'placeholder':
      return <Said tone="bad">{hints.placeholder}</Said>;
    case 'malformed':
      return <Said tone="bad">{hints.malformed}</Said>;
  }
}

const TONES = { good: 'text-good', bad: 'text-bad', plain: 'text-ink-soft' };

function Said({ tone, children }: { tone: keyof typeof TONES; children: ReactNode }) {
  const Icon = tone === 'good' ? CircleCheck : TriangleAlert;
  return (
    <span className={classes('inline-flex items-start gap-1.5', TONES[tone])}>
      <Icon aria-hidden="true" className="mt-0.5 size-4 shrink-0" />
      {children}
    </span>
  );
}
