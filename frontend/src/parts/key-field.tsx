import type { Provider } from '@keyfold/client';
import { ArrowUpRight, Eye, EyeOff } from 'lucide-react';
import { type ClipboardEvent, lazy, type Ref, Suspense, useId, useState } from 'react';
import { classes } from '@/shared/classes';
import { Boundary } from '@/shared/ui/boundary';
import { inputLook } from '@/shared/ui/text-field';
import { texts } from '@/texts';
import type { SortedBlock } from './env-block';
import { prepareForTyping, whenTyping } from './typing';

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
    const text = event.clipboardData.getData('text');
    if (!mayBeBlock(text)) return;
    event.preventDefault();
    const field = event.currentTarget;
    const asTyped = () => onChange(withInserted(field, text));
    whenTyping().then(({ sortBlock }) => {
      const block = sortBlock(text, providers);
      if (block) onBlock(block);
      else asTyped();
    }, asTyped);
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
          onFocus={prepareForTyping}
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

/** Whether it has a variable in it, or several lines; a key alone is pasted as ever. */
function mayBeBlock(text: string): boolean {
  return /[=\n\r]|:\s/.test(text.trim());
}

/** What stands in the field with this in the place of what is selected, on one line. */
function withInserted({ value, selectionStart, selectionEnd }: HTMLInputElement, text: string): string {
  const [start, end] = [selectionStart ?? value.length, selectionEnd ?? value.length];
  return value.slice(0, start) + text.replace(/[\n\r]/g, '') + value.slice(end);
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

/** So much is typed before its form means anything. */
const TELLING_LENGTH = 6;

// Loaded when somebody is about to type.
const TypedHint = lazy(() => whenTyping().then((typing) => ({ default: typing.TypedHint })));

type HintProps = Pick<Props, 'provider' | 'providers' | 'value' | 'onMove'>;

function Hint({ provider, providers, value, onMove }: HintProps) {
  const usual = <span className="text-ink-soft">{texts.keyParts.hint(provider.format_hint)}</span>;
  if (value.trim().length < TELLING_LENGTH) return usual;
  return (
    <Boundary failed={usual}>
      <Suspense fallback={usual}>
        <TypedHint provider={provider} providers={providers} value={value} onMove={onMove} usual={usual} />
      </Suspense>
    </Boundary>
  );
}
