import { PageHeader } from '@/shared/ui/page-header';

export function OnboardingView() {
  return <PageHeader title="OnboardingView" />;
}
