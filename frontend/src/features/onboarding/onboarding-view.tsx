import type { KeyList, OnboardingProgress, Provider } from '@keyfold/client';
import { lazy, type ReactNode, Suspense, useEffect, useRef, useState } from 'react';
import type { SaveResult } from '@/parts/key-actions';
import { useKeys, useProgress, useProviders } from '@/parts/queries';
import { useConfig } from '@/session/config-context';
import { useGo, useSearchParams } from '@/shared/navigation';
import { PageHeader } from '@/shared/ui/page-header';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { Skeleton, SkeletonList } from '@/shared/ui/skeleton';
import { texts } from '@/texts';
import { useOptionalSteps } from './actions';
import { isFilled, useDrafts } from './drafts';
import { KeysStep } from './keys-step';
import { Stepper } from './stepper';
import { kindOf, shownStep } from './steps';

// What comes after the first step is loaded after it.
const TryStep = lazy(() => import('./try-step').then((module) => ({ default: module.TryStep })));
const HostStep = lazy(() => import('./host-step').then((module) => ({ default: module.HostStep })));
const SavedNotice = lazy(() => import('./saved-notice').then((module) => ({ default: module.SavedNotice })));
const Done = lazy(() => import('./done').then((module) => ({ default: module.Done })));

/** The way from nothing to a call that works. The server knows where the user stands. */
export function OnboardingView() {
  const progress = useProgress();
  const providers = useProviders();
  const keys = useKeys();
  const error = progress.error ?? providers.error ?? keys.error;
  if (progress.data && providers.data && keys.data) {
    return <Wizard progress={progress.data} providers={providers.data} keys={keys.data} />;
  }
  const retry = () => [progress, providers, keys].map((query) => query.refetch());
  return (
    <>
      <Head isOver={false} />
      {error ? <ProblemNotice error={error} onRetry={retry} /> : <Waiting />}
    </>
  );
}

interface Loaded {
  progress: OnboardingProgress;
  providers: readonly Provider[];
  keys: KeyList;
}

function Wizard({ progress, providers, keys }: Loaded) {
  const { onboarding: preset } = useConfig();
  const optional = useOptionalSteps();
  const [drafts, change] = useDrafts();
  const [saved, setSaved] = useState<readonly SaveResult[]>([]);
  const { asked, moveOn } = useAskedStep();
  const { total_steps: total, is_completed: isOver } = progress;
  // What another tab or device did moves this one on, unless something is typed here.
  const isTyped = Object.values(drafts).some(isFilled);
  const number = shownStep(progress, asked ?? (isTyped ? 1 : undefined), optional);
  const kind = number === null ? 'done' : kindOf(preset, number, total);
  const step = progress.steps.find((one) => one.step_number === number);
  const isOptional = number !== null && optional.includes(number);
  const keepSaved = (results: readonly SaveResult[]) =>
    setSaved((before) => [
      ...before.filter(({ provider }) => !results.some((result) => result.provider === provider)),
      ...results,
    ]);
  const goOn = (done: number) => {
    setSaved([]);
    moveOn(done);
  };
  return (
    <>
      <Head isOver={kind === 'done' && isOver} />
      <Stepper progress={progress} shown={number} optional={optional} />
      <StepFrame number={number} label={step && texts.onboarding.stepOf(step.step_number, total)}>
        <Suspense fallback={<Skeleton className="h-96" />}>
          {kind !== 'keys' && <SavedNotice saved={saved} providers={providers} />}
          {kind === 'keys' && (
            <KeysStep
              providers={providers}
              keys={keys}
              drafts={drafts}
              change={change}
              onSaved={keepSaved}
              onDone={() => moveOn(1)}
            />
          )}
          {kind === 'host' && step && (
            <HostStep
              key={number}
              step={step}
              isOptional={isOptional}
              onDone={() => goOn(step.step_number)}
            />
          )}
          {kind === 'try' && step && (
            <TryStep
              number={step.step_number}
              isOwnStep={step.step_number < total}
              providers={providers}
              keys={keys}
              onDone={() => goOn(step.step_number)}
            />
          )}
          {kind === 'done' && <Done isOver={isOver} providers={providers} keys={keys} />}
        </Suspense>
      </StepFrame>
    </>
  );
}

/**
 * The step that the address asks for. An address without one follows the server, so that a reload, another tab and
 * another device show the same; going on leaves the step that was done behind for the way back.
 */
function useAskedStep() {
  const [search] = useSearchParams();
  const go = useGo();
  const isHere = useRef(false);
  useEffect(() => {
    isHere.current = true;
    return () => {
      isHere.current = false;
    };
  }, []);
  const moveOn = (done: number) => {
    // Who looks at another view meanwhile is left there.
    if (!isHere.current) return;
    go({ to: '/onboarding', search: { step: String(done) } }, { replace: true });
    go({ to: '/onboarding' });
  };
  return { asked: search.has('step') ? Number(search.get('step')) : undefined, moveOn };
}

function Head({ isOver }: { isOver: boolean }) {
  const { mode } = useConfig();
  const { title, doneTitle, lead } = texts.onboarding;
  if (isOver) return <PageHeader title={doneTitle} />;
  return <PageHeader title={title} lead={mode === 'local' ? lead.local : lead.production} />;
}

type FrameProps = { number: number | null; label: string | undefined; children: ReactNode };

/** A step that follows another one is read from its beginning, also by those who hear it. */
function StepFrame({ number, label, children }: FrameProps) {
  const frame = useRef<HTMLElement>(null);
  const before = useRef(number);
  useEffect(() => {
    if (before.current === number) return;
    before.current = number;
    frame.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [number]);
  return (
    <section ref={frame} tabIndex={-1} aria-label={label} className="space-y-6 outline-none">
      {children}
    </section>
  );
}

function Waiting() {
  return (
    <>
      <Skeleton className="mb-8 h-10" />
      <SkeletonList count={3} className="h-44" />
    </>
  );
}
