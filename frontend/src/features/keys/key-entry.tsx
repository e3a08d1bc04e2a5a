import type { Provider } from '@keyfold/client';
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from 'react';
import { useDraft } from '@/parts/draft';
import type { SortedBlock } from '@/parts/env-block';
import { useKeyActions } from '@/parts/key-actions';
import { KeyField } from '@/parts/key-field';
import { type Outcome, OutcomeNotice, outcomeOfNothing } from '@/parts/outcome';
import { whenTyping } from '@/parts/typing';
import { Button } from '@/shared/ui/button';
import { texts } from '@/texts';

type Words = Awaited<ReturnType<typeof whenTyping>>;

type Props = {
  provider: Provider;
  providers: readonly Provider[];
  saveLabel: string;
  /** Whether somebody asked for this field just now. */
  takesFocus?: boolean;
  /** What stands beside the buttons. */
  children?: ReactNode;
  onSaved: (outcome: Outcome) => void;
};

/** The name of what is typed for this provider's key. */
export function draftOfKey({ id }: Provider): string {
  return `key-of-${id}`;
}

/** One key to be pasted, tested and saved. Whatever goes wrong, it stays typed. */
export function KeyEntry({ provider, providers, saveLabel, takesFocus = false, children, onSaved }: Props) {
  const [text, setText] = useDraft(draftOfKey(provider));
  const [work, setWork] = useState<'testing' | 'saving' | null>(null);
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [said, setSaid] = useState('');
  const field = useRef<HTMLInputElement>(null);
  const latest = useRef(text);
  const { save, test } = useKeyActions();
  useEffect(() => {
    if (takesFocus) field.current?.focus();
  }, [takesFocus]);

  const isEmpty = text.trim() === '';
  const type = (typed: string) => {
    latest.current = typed;
    setText(typed);
    setOutcome(null);
    setSaid('');
  };
  const paste = ({ keys }: SortedBlock) => {
    const found = keys.find((one) => one.provider.id === provider.id);
    if (found) type(found.key);
    setSaid(found ? texts.keys.blockTaken(found.name) : texts.keys.blockWithout(provider.name));
  };
  const run = async (kind: 'testing' | 'saving', step: (words: Words) => Promise<void>) => {
    if (work) return;
    setWork(kind);
    setOutcome(null);
    const words = await whenTyping().catch(() => null);
    try {
      if (words) await step(words);
      else setOutcome(outcomeOfNothing());
    } catch (error) {
      setOutcome(words?.outcomeOfError(error, provider) ?? null);
      if (kind === 'saving') field.current?.focus();
    }
    setWork(null);
  };
  const testTyped = () =>
    run('testing', async ({ outcomeOfVerdict }) => {
      const verdict = await test({ provider: provider.id, key: text });
      // It says nothing of what was typed meanwhile.
      if (latest.current === text) setOutcome(outcomeOfVerdict(verdict, { isStored: false }));
    });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (work || isEmpty) {
      field.current?.focus();
      return;
    }
    run('saving', async ({ outcomeOfSaved }) => {
      // What is still typed when the key comes into view would count as another one that is being entered.
      const saved = await save({ provider: provider.id, key: text }, () => type(''));
      onSaved(outcomeOfSaved(saved));
    });
  };
  return (
    <form onSubmit={submit} noValidate className="space-y-4">
      <KeyField
        ref={field}
        provider={provider}
        providers={providers}
        value={text}
        onChange={type}
        onBlock={paste}
        isInvalid={outcome?.tone === 'bad'}
      />
      <p role="status" className="text-ink-soft text-sm empty:hidden">
        {said}
      </p>
      {outcome && <OutcomeNotice outcome={outcome} />}
      <div className="flex flex-wrap items-center gap-2">
        <Button type="submit" kind="primary" busy={work === 'saving'}>
          {saveLabel}
        </Button>
        <Button busy={work === 'testing'} disabled={isEmpty} onClick={testTyped}>
          {work === 'testing' ? texts.keyParts.testing : texts.keyParts.test}
        </Button>
        {children}
      </div>
    </form>
  );
}
