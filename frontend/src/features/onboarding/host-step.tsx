import type { OnboardingStep } from '@keyfold/client';
import { Button } from '@/shared/ui/button';
import { Card } from '@/shared/ui/card';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { useWork } from '@/shared/use-work';
import { texts } from '@/texts';
import { useOnboardingActions } from './actions';
import { BackLink } from './back-link';

type Props = { step: OnboardingStep; isOptional: boolean; onDone: () => void };

/** A step whose contents the host application has; here it can only be passed. */
export function HostStep({ step, isOptional, onDone }: Props) {
  const { completeStep, skipStep } = useOnboardingActions();
  const number = step.step_number;
  const completing = useWork(() => completeStep(number).then(onDone));
  const skipping = useWork(() => skipStep(number).then(onDone));
  return (
    <Card className="max-w-2xl space-y-4">
      <div>
        <h2 className="font-semibold text-lg">{step.title}</h2>
        <p className="mt-1">{step.description}.</p>
      </div>
      <p className="text-ink-soft text-sm">{texts.setupParts.host.text}</p>
      <ProblemNotice error={completing.error ?? skipping.error} />
      <div className="flex flex-wrap gap-2">
        <Button kind="primary" busy={completing.isRunning} onClick={() => completing.run()}>
          {texts.setupParts.host.complete}
        </Button>
        {isOptional && (
          <Button busy={skipping.isRunning} onClick={() => skipping.run()}>
            {texts.setupParts.host.skip}
          </Button>
        )}
        <BackLink step={number - 1} />
      </div>
    </Card>
  );
}
