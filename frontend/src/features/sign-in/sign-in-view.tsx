import { Check } from 'lucide-react';
import { useState } from 'react';
import { hostOf } from '@/session/config';
import { useConfig } from '@/session/config-context';
import { ownPath, useSession } from '@/session/session';
import { RedirectToAddress, useSearchParams } from '@/shared/navigation';
import { Button } from '@/shared/ui/button';
import { Card } from '@/shared/ui/card';
import { Notice } from '@/shared/ui/notice';
import { PageHeader } from '@/shared/ui/page-header';
import { texts } from '@/texts';

export function SignInView() {
  const { user, problem, form, signIn } = useSession();
  const { auth } = useConfig();
  const [search] = useSearchParams();
  const to = ownPath(search.get('to'));
  const [isLeaving, setLeaving] = useState(false);
  if (user) return <RedirectToAddress address={to} />;
  const leave = async () => {
    setLeaving(true);
    await signIn(to);
    setLeaving(false);
  };
  const host = hostOf(auth);
  return (
    <div className="mx-auto max-w-md pt-4 sm:pt-12">
      <PageHeader title={texts.signIn.title} lead={texts.signIn.lead} />
      {problem && (
        <div className="mb-4">
          <Notice tone="bad" live>
            {problem}
          </Notice>
        </div>
      )}
      {form ?? (
        <Card className="space-y-5">
          <ul className="space-y-2 text-ink-soft text-sm">
            {texts.signIn.points.map((point) => (
              <li key={point} className="flex gap-2">
                <Check aria-hidden="true" className="mt-0.5 size-4 shrink-0 text-good" />
                {point}
              </li>
            ))}
          </ul>
          <Button kind="primary" busy={isLeaving} onClick={leave} className="w-full">
            {host ? texts.signIn.continueWith(host) : texts.signIn.action}
          </Button>
        </Card>
      )}
    </div>
  );
}
