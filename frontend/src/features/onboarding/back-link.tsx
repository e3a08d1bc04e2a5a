import { Link } from '@/shared/navigation';
import { buttonLook } from '@/shared/ui/button';
import { texts } from '@/texts';

export function BackLink({ step }: { step: number }) {
  return (
    <Link to="/onboarding" search={{ step: String(step) }} className={buttonLook('quiet')}>
      {texts.onboarding.back}
    </Link>
  );
}
