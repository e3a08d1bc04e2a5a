import { Link } from '@/shared/navigation';
import { buttonLook } from '@/shared/ui/button';
import { onboarding as onboardingTexts } from '@/texts/onboarding';

export function BackLink({ step }: { step: number }) {
  return (
    <Link to="/onboarding" search={{ step: String(step) }} className={buttonLook('quiet')}>
      {onboardingTexts.back}
    </Link>
  );
}
