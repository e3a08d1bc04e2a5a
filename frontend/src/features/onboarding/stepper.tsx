import type { OnboardingProgress } from '@keyfold/client';
import { Check } from 'lucide-react';
import { classes } from '@/shared/classes';
import { Link } from '@/shared/navigation';
import { texts } from '@/texts';
import { isReachable, isSettled } from './steps';

type Props = { progress: OnboardingProgress; shown: number | null; optional: readonly number[] };

/** Where the user stands, and the way to steps that are open. */
export function Stepper({ progress, shown, optional }: Props) {
  const { steps, total_steps: total } = progress;
  const current = steps.find((step) => step.step_number === shown);
  return (
    <nav aria-label={texts.onboarding.progress} className="mb-6 sm:mb-8">
      {current && (
        <p className="font-medium text-sm sm:hidden" aria-hidden="true">
          {texts.onboarding.stepOf(current.step_number, total)}: {current.title}
        </p>
      )}
      <ol className="flex gap-2">
        {steps.map((step) => (
          <li key={step.step_number} className="min-w-0 flex-1">
            <StepLink
              step={step}
              isShown={step.step_number === shown}
              isOpen={isReachable(steps, step.step_number, optional)}
            />
          </li>
        ))}
      </ol>
    </nav>
  );
}

type Step = OnboardingProgress['steps'][number];

function StepLink({ step, isShown, isOpen }: { step: Step; isShown: boolean; isOpen: boolean }) {
  const isDone = isSettled(step);
  const content = (
    <>
      <span
        className={classes(
          'block h-1.5 rounded-full',
          isShown ? 'bg-brand' : isDone ? 'bg-brand/45' : 'bg-line',
        )}
      />
      <span className="mt-2 hidden min-w-0 items-center gap-1.5 text-sm sm:flex">
        {isDone ? (
          <Check aria-hidden="true" className="size-4 shrink-0 text-brand" />
        ) : (
          <span aria-hidden="true">{step.step_number}.</span>
        )}
        <span className="truncate">{step.title}</span>
      </span>
      <span className="sr-only">{statusWord(step.status)}</span>
    </>
  );
  const look = classes(
    'block rounded-md py-2.5 sm:py-1',
    isShown ? 'font-semibold text-ink' : 'text-ink-soft',
  );
  const label = `${step.step_number}. ${step.title}`;
  if (!isOpen) return <span className={look}>{content}</span>;
  return (
    <Link
      to="/onboarding"
      search={{ step: String(step.step_number) }}
      aria-label={`${label}, ${statusWord(step.status)}`}
      aria-current={isShown ? 'step' : undefined}
      className={classes(look, 'hover:text-ink')}
    >
      {content}
    </Link>
  );
}

function statusWord(status: string): string {
  const words: Record<string, string> = texts.onboarding.stepStatus;
  return words[status] ?? '';
}
