import type { Provider } from '@keyfold/client';
import { ArrowUpRight, CircleCheck, Eye, EyeOff, TriangleAlert } from 'lucide-react';
import { type ClipboardEvent, type ReactNode, type Ref, useId, useState } from 'react';
import { classes } from '@/shared/classes';
import { Button } from '@/shared/ui/button';
import { inputLook } from '@/shared/ui/text-field';
import { texts } from '@/texts';
import { type SortedBlock, sortBlock } from './env-block';
import { appearance } from './key-shape';

type Props = {
  provider: Provider;
  /** All there are: the form of a key tells whose it is. */
  providers: readonly Provider[];
  value: string;
  onChange: (value: string) => void;
  /** Takes the keys of a pasted `.env` block. */
  onBlock: (block: SortedBlock) => void;
  /** Puts the typed key where it belongs; without it that is only said. */
  onMove?: (owner: Provider) => void;
  isInvalid?: boolean;
  ref?: Ref<HTMLInputElement>;
};

/** Where a key is pasted. It says at once what it looks like; the provider is asked later. */
export function KeyField({ provider, providers, value, onChange, onBlock, onMove, isInvalid, ref }: Props) {
  const id = useId();
  const [isShown, setShown] = useState(false);
  const { name, setup_url: setupUrl } = provider;
  const takeBlock = (event: ClipboardEvent<HTMLInputElement>) => {
    const block = sortBlock(event.clipboardData.getData('text'), providers);
    if (!block) return;
    event.preventDefault();
    onBlock(block);
  };
  const EyeIcon = isShown ? EyeOff : Eye;
  return (
    <div className="space-y-1.5">
      <div className="flex flex-wrap items-baseline justify-between gap-x-4">
        <label htmlFor={id} className="font-medium text-sm">
          {texts.keyParts.field(name)}
        </label>
        <GetKeyLink name={name} url={setupUrl} />
      </div>
      <div className="relative">
        <input
          ref={ref}
          id={id}
          name={`key-of-${provider.id}`}
          type={isShown ? 'text' : 'password'}
          value={value}
          onChange={(event) => onChange(event.target.value)}
          onPaste={takeBlock}
          placeholder={texts.keyParts.placeholder}
          autoComplete="off"
          autoCapitalize="off"
          autoCorrect="off"
          spellCheck={false}
          data-1p-ignore=""
          data-lpignore="true"
          data-bwignore=""
          aria-invalid={isInvalid || undefined}
          aria-describedby={`${id}-hint`}
          className={classes(inputLook, 'min-h-11 pr-12 font-mono')}
        />
        <button
          type="button"
          onClick={() => setShown(!isShown)}
          aria-label={isShown ? texts.keyParts.hide(name) : texts.keyParts.reveal(name)}
          className="absolute inset-y-0 right-0 flex w-11 items-center justify-center rounded-lg text-ink-soft hover:text-ink"
        >
          <EyeIcon aria-hidden="true" className="size-4" />
        </button>
      </div>
      <p id={`${id}-hint`} aria-live="polite" className="flex flex-wrap items-center gap-x-2 gap-y-1 text-sm">
        <Hint provider={provider} providers={providers} value={value} {...(onMove ? { onMove } : {})} />
      </p>
    </div>
  );
}

function GetKeyLink({ name, url }: { name: string; url: string }) {
  return (
    <a
      href={url}
      target="_blank"
      rel="noreferrer"
      className="inline-flex items-center gap-0.5 rounded font-medium text-brand text-sm underline-offset-2 hover:underline"
    >
      {texts.keyParts.getKey(name)}
      <ArrowUpRight aria-hidden="true" className="size-4" />
      <span className="sr-only">({texts.keyParts.opensElsewhere})</span>
    </a>
  );
}

type HintProps = Pick<Props, 'provider' | 'providers' | 'value' | 'onMove'>;

/** So much is typed before its form means anything. */
const TELLING_LENGTH = 6;

function Hint({ provider, providers, value, onMove }: HintProps) {
  const { name } = provider;
  const { hint, hints } = texts.keyParts;
  const seen = appearance(value, provider, providers);
  const usual = <span className="text-ink-soft">{hint(provider.format_hint)}</span>;
  if (value.trim().length < TELLING_LENGTH) return usual;
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
