import type { KeyList, Provider } from '@keyfold/client';
import { ClipboardPaste } from 'lucide-react';
import { type FormEvent, lazy, Suspense, useEffect, useRef, useState } from 'react';
import type { SortedBlock } from '@/parts/env-block';
import { type SaveResult, useKeyActions } from '@/parts/key-actions';
import { isUsable } from '@/parts/key-status-badge';
import { type Outcome, outcomeOfNothing } from '@/parts/outcome';
import { whenTyping } from '@/parts/typing';
import { classes } from '@/shared/classes';
import { useIsOnline } from '@/shared/network';
import { Boundary } from '@/shared/ui/boundary';
import { Button } from '@/shared/ui/button';
import { Notice } from '@/shared/ui/notice';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { Skeleton } from '@/shared/ui/skeleton';
import { useWork } from '@/shared/use-work';
import { isOfNoNetwork } from '@/shared/words';
import { texts } from '@/texts';
import { useOnboardingActions } from './actions';
import { type Change, type Drafts, draftOf, isFilled } from './drafts';
import { type CardActions, ProviderCard } from './provider-card';

const AboutKeys = lazy(() => import('./about-keys').then((module) => ({ default: module.AboutKeys })));
const BlockNotice = lazy(() => import('./block-notice').then((module) => ({ default: module.BlockNotice })));

const words = texts.onboarding.keys;

type Props = {
  providers: readonly Provider[];
  keys: KeyList;
  drafts: Drafts;
  change: (change: Change) => void;
  onSaved: (results: readonly SaveResult[]) => void;
  onDone: () => void;
};

interface Failures {
  failed: number;
  saved: number;
  /** Nothing more is to be said of them once there is a network again. */
  isOfNoNetworkOnly: boolean;
}

/** Every provider has a card; one button saves all that are filled. */
export function KeysStep({ providers, keys, drafts, change, onSaved, onDone }: Props) {
  const [block, setBlock] = useState<SortedBlock | null>(null);
  const [isMoreShown, setMoreShown] = useState(() =>
    providers.some((provider) => !isProminent(provider) && isFilled(draftOf(drafts, provider.id))),
  );
  const [failures, setFailures] = useState<Failures | null>(null);
  const isOnline = useIsOnline();
  const fields = useRef(new Map<string, HTMLInputElement>());
  const focusNext = useRef<string | null>(null);
  const { test, saveAll } = useKeyActions();
  const { completeStep } = useOnboardingActions();

  const filled = providers.filter(({ id }) => isFilled(draftOf(drafts, id)));
  // A field that was opened just now takes the focus.
  useEffect(() => {
    const field = focusNext.current === null ? undefined : fields.current.get(focusNext.current);
    if (!field) return;
    focusNext.current = null;
    field.focus();
  });

  const stored = new Map(keys.keys.map((key) => [key.provider, key]));
  const hasUsable = (id: string) => keys.keys.some((key) => key.provider === id && isUsable(key));
  const lacking = providers.filter(({ id, required }) => required && !hasUsable(id));

  const comeOut = (provider: Provider, key: string, outcome: Outcome, isSaved: boolean) =>
    change({ type: 'came-out', provider: provider.id, key, outcome, isSaved });

  const testOne = async (provider: Provider) => {
    const key = draftOf(drafts, provider.id).text;
    change({ type: 'working', providers: [provider.id], work: 'testing' });
    const words = await whenTyping().catch(() => null);
    try {
      const verdict = words && (await test({ provider: provider.id, key }));
      const outcome = verdict ? words.outcomeOfVerdict(verdict, { isStored: false }) : outcomeOfNothing();
      comeOut(provider, key, outcome, false);
    } catch (error) {
      comeOut(provider, key, words?.outcomeOfError(error, provider) ?? outcomeOfNothing(), false);
    }
  };

  const saveFilled = async (): Promise<SaveResult[]> => {
    // First, so that whatever comes of it can be said.
    const { outcomeOfSaved, outcomeOfError } = await whenTyping();
    const typed = filled.map(({ id }) => ({ provider: id, key: draftOf(drafts, id).text }));
    change({ type: 'working', providers: typed.map(({ provider }) => provider), work: 'saving' });
    const results = await saveAll(typed);
    for (const [place, result] of results.entries()) {
      const provider = filled[place];
      const key = typed[place]?.key ?? '';
      if (!provider) continue;
      if ('saved' in result) comeOut(provider, key, outcomeOfSaved(result.saved), true);
      else comeOut(provider, key, outcomeOfError(result.error, provider), false);
    }
    return results;
  };

  const saving = useWork(async () => {
    setFailures(null);
    setBlock(null);
    const results = await saveFilled();
    const saved = results.filter((result) => 'saved' in result);
    onSaved(saved);
    const failed = results.find((result) => 'error' in result);
    if (failed) {
      const isOfNoNetworkOnly = results.every((one) => !('error' in one) || isOfNoNetwork(one.error));
      setFailures({ failed: results.length - saved.length, saved: saved.length, isOfNoNetworkOnly });
      focusNext.current = failed.provider;
      return;
    }
    const missing = lacking.find(({ id }) => !saved.some(({ provider }) => provider === id));
    if (missing) {
      comeOut(missing, draftOf(drafts, missing.id).text, neededOutcome(missing), false);
      focusNext.current = missing.id;
      return;
    }
    await completeStep(1);
    onDone();
  });

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!saving.isRunning) saving.run();
  };

  const takeBlock = (found: SortedBlock) => {
    setBlock(found);
    setFailures(null);
    change({ type: 'pasted', keys: found.keys });
    if (found.keys.some(({ provider }) => !isProminent(provider))) setMoreShown(true);
    focusNext.current = found.keys[0]?.provider.id ?? null;
  };

  const actionsFor = (provider: Provider): CardActions => ({
    type: (text) => {
      setFailures(null);
      change({ type: 'typed', provider: provider.id, text });
    },
    open: () => {
      focusNext.current = provider.id;
      change({ type: 'opened', provider: provider.id });
    },
    close: () => change({ type: 'closed', provider: provider.id }),
    test: () => testOne(provider),
    move: (owner) => {
      if (!isProminent(owner)) setMoreShown(true);
      focusNext.current = owner.id;
      change({ type: 'moved', from: provider.id, to: owner.id });
    },
    paste: takeBlock,
  });

  const card = (provider: Provider) => (
    <ProviderCard
      key={provider.id}
      provider={provider}
      providers={providers}
      stored={stored.get(provider.id)}
      draft={draftOf(drafts, provider.id)}
      isProminent={isProminent(provider)}
      actions={actionsFor(provider)}
      fieldRef={(field) => {
        if (field) fields.current.set(provider.id, field);
        return () => {
          fields.current.delete(provider.id);
        };
      }}
    />
  );
  const isFirstChoice = (provider: Provider) => isProminent(provider) || stored.has(provider.id);
  const others = providers.filter((provider) => !isFirstChoice(provider));
  const optional = providers.filter((provider) => !provider.required && isFirstChoice(provider));

  return (
    <div className="grid gap-6 lg:grid-cols-[minmax(0,1fr)_17rem] lg:gap-8">
      <Boundary failed={null}>
        <Suspense fallback={<Skeleton className="h-[66px] sm:h-[46px] lg:hidden" />}>
          <AboutKeys />
        </Suspense>
      </Boundary>
      <form
        onSubmit={submit}
        noValidate
        className="min-w-0 space-y-6 [&_button]:scroll-mb-44 [&_input]:scroll-mb-44"
      >
        <p className="flex items-start gap-2 text-ink-soft text-sm">
          <ClipboardPaste aria-hidden="true" className="mt-0.5 size-4 shrink-0 text-brand" />
          {words.blockHint}
        </p>
        {failures && !(failures.isOfNoNetworkOnly && isOnline) && (
          <Notice tone="bad" live>
            {words.notAllSaved(failures.failed, failures.saved)}
          </Notice>
        )}
        {block && (
          <Boundary failed={<Notice tone="warn">{texts.common.crash.part}</Notice>}>
            <Suspense>
              <BlockNotice block={block} onDismiss={() => setBlock(null)} />
            </Suspense>
          </Boundary>
        )}
        <section aria-labelledby="needed-keys" className="space-y-3">
          <h2 id="needed-keys" className="font-semibold text-lg">
            {words.required}
          </h2>
          {providers.filter(({ required }) => required).map(card)}
        </section>
        <section aria-labelledby="useful-keys" className="space-y-3">
          <h2 id="useful-keys" className="font-semibold text-lg">
            {words.optional}
          </h2>
          {optional.map(card)}
          {others.length > 0 && (
            <Button
              kind="quiet"
              aria-expanded={isMoreShown}
              onClick={() => setMoreShown(!isMoreShown)}
              className="w-full border border-line border-dashed"
            >
              {isMoreShown ? words.less : words.more(others.length)}
            </Button>
          )}
          {isMoreShown && <div className="grid gap-3 sm:grid-cols-2">{others.map(card)}</div>}
        </section>
        <ProblemNotice error={saving.error} />
        <SaveBar
          isSaving={saving.isRunning}
          count={filled.length}
          lacking={lacking.filter((provider) => !filled.includes(provider))}
        />
      </form>
    </div>
  );
}

/** Its field is there from the beginning: what is needed, and what the next step shows. */
function isProminent({ required, researches }: Provider): boolean {
  return required || researches;
}

function neededOutcome({ name }: Provider): Outcome {
  return { tone: 'warn', title: words.needed(name), lines: [words.neededHow] };
}

type BarProps = { isSaving: boolean; count: number; lacking: readonly Provider[] };

/** In reach while there is something to save, however many cards there are. */
function SaveBar({ isSaving, count, lacking }: BarProps) {
  const say =
    count > 0
      ? words.toSave(count)
      : lacking.length > 0
        ? words.stillNeeded(lacking.map(({ name }) => name))
        : words.allSaved;
  return (
    <div
      className={classes(
        'flex flex-wrap items-center justify-between gap-x-4 gap-y-2 rounded-2xl border border-line bg-surface p-3 sm:pl-4',
        count > 0 && 'sticky bottom-16 z-[5] shadow-lg md:bottom-4',
      )}
    >
      <p className="text-ink-soft text-sm">{say}</p>
      <Button type="submit" kind="primary" busy={isSaving} className="grow sm:grow-0">
        {count > 0 || lacking.length > 0 ? words.save : words.goOn}
      </Button>
    </div>
  );
}
