import { PageHeader } from '@/shared/ui/page-header';

export function SignInView() {
  return <PageHeader title="SignInView" />;
}
