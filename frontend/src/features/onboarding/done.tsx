import type { KeyList, Provider } from '@keyfold/client';
import { Activity, ArrowRight, KeyRound, Sparkles } from 'lucide-react';
import type { ReactNode } from 'react';
import { isUsable, KeyStatusBadge } from '@/parts/key-status-badge';
import { ProviderMark } from '@/parts/provider-mark';
import { useConfig } from '@/session/config-context';
import { Link } from '@/shared/navigation';
import { Button } from '@/shared/ui/button';
import { Card } from '@/shared/ui/card';
import { Notice } from '@/shared/ui/notice';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { useWork } from '@/shared/use-work';
import { texts } from '@/texts';
import { FileName } from './about-keys';
import { useOnboardingActions } from './actions';

const words = texts.setupParts.done;

type Props = { isOver: boolean; providers: readonly Provider[]; keys: KeyList };

/** What the user has now, and where to go with it. */
export function Done({ isOver, providers, keys }: Props) {
  const { finish, reset } = useOnboardingActions();
  const finishing = useWork(() => finish(null));
  const resetting = useWork(reset);
  return (
    <div className="space-y-8">
      {!isOver && (
        <Notice
          action={
            <Button kind="primary" size="small" busy={finishing.isRunning} onClick={() => finishing.run()}>
              {words.finish}
            </Button>
          }
        >
          {words.almost}
        </Notice>
      )}
      <ProblemNotice error={finishing.error ?? resetting.error} />
      <section aria-labelledby="what-works" className="space-y-3">
        <div>
          <h2 id="what-works" className="font-semibold text-lg">
            {words.title}
          </h2>
          <p className="text-ink-soft">{words.text}</p>
        </div>
        <Card className="!py-1">
          <ul className="divide-y divide-line">
            {keys.keys.filter(isUsable).map(({ provider: id, status, masked }) => {
              const provider = providers.find((one) => one.id === id);
              return (
                <li key={id} className="flex items-center gap-3 py-3">
                  <ProviderMark id={id} name={provider?.name ?? id} />
                  <div className="min-w-0 flex-1">
                    <p className="flex flex-wrap items-center gap-x-2">
                      <span className="font-medium">{provider?.name ?? id}</span>
                      <span className="font-mono text-ink-soft text-sm">{masked}</span>
                    </p>
                    <p className="text-ink-soft text-sm">{provider?.description}</p>
                  </div>
                  <KeyStatusBadge status={status} />
                </li>
              );
            })}
          </ul>
        </Card>
        <Files />
      </section>
      <nav aria-label={words.next}>
        <ul className="grid gap-3 sm:grid-cols-3">
          <Way to="/try" icon={<Sparkles aria-hidden="true" className="size-5" />} {...words.tryIt} />
          <Way to="/keys" icon={<KeyRound aria-hidden="true" className="size-5" />} {...words.keys} />
          <Way to="/activity" icon={<Activity aria-hidden="true" className="size-5" />} {...words.activity} />
        </ul>
      </nav>
      {isOver && (
        <p className="flex flex-wrap items-center gap-2 text-ink-soft text-sm">
          <Button size="small" busy={resetting.isRunning} onClick={() => resetting.run()}>
            {words.again}
          </Button>
          {words.againText}
        </p>
      )}
    </div>
  );
}

function Files() {
  const { env_files: files } = useConfig();
  if (!files) return null;
  return (
    <p className="text-ink-soft text-sm">
      {words.files} <FileName path={files.backend} />.
    </p>
  );
}

type WayProps = { to: '/try' | '/keys' | '/activity'; icon: ReactNode; title: string; text: string };

function Way({ to, icon, title, text }: WayProps) {
  return (
    <li>
      <Link
        to={to}
        className="group flex h-full flex-col gap-1 rounded-2xl border border-line bg-surface p-4 transition-colors hover:border-brand"
      >
        <span className="text-brand">{icon}</span>
        <span className="mt-1 flex items-center gap-1 font-semibold">
          {title}
          <ArrowRight
            aria-hidden="true"
            className="size-4 transition-transform group-hover:translate-x-0.5 motion-reduce:transition-none"
          />
        </span>
        <span className="text-ink-soft text-sm">{text}</span>
      </Link>
    </li>
  );
}
