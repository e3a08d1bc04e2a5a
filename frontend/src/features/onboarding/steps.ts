import type { OnboardingProgress } from '@keyfold/client';

type Steps = OnboardingProgress['steps'];

/** What is done in a step: keys first; in the preset `alwrity` the host application's own steps follow. */
export type StepKind = 'keys' | 'host' | 'try' | 'done';

export function kindOf(preset: string, number: number, total: number): StepKind {
  if (number === 1) return 'keys';
  if (preset === 'alwrity') return number === total ? 'try' : 'host';
  return number === total ? 'done' : 'try';
}

export function isSettled({ status }: Steps[number]): boolean {
  return status === 'completed' || status === 'skipped';
}

/** Whether a step may be opened: nothing required is open before it. */
export function isReachable(steps: Steps, number: number, optional: readonly number[]): boolean {
  return steps.every(
    (step) => step.step_number >= number || isSettled(step) || optional.includes(step.step_number),
  );
}

/** The step to show: the one asked for if it may be opened, else where the server says the user is; null at the end. */
export function shownStep(
  progress: OnboardingProgress,
  asked: number | undefined,
  optional: readonly number[],
): number | null {
  const { steps, is_completed: isOver, current_step: current } = progress;
  const isStep = steps.some(({ step_number: number }) => number === asked);
  if (asked !== undefined && isStep && isReachable(steps, asked, optional)) return asked;
  return isOver ? null : current;
}
