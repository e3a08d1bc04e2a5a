import { Coins, KeyRound, ShieldCheck } from 'lucide-react';
import type { ReactNode } from 'react';
import { useConfig } from '@/session/config-context';
import { texts } from '@/texts';

const { about } = texts.onboarding;

/** What a newcomer asks before pasting a secret into a page. */
export function AboutKeys() {
  return (
    <aside aria-label={about.label} className="grid content-start gap-5 sm:grid-cols-3 lg:grid-cols-1">
      <Answer icon={<KeyRound aria-hidden="true" className="size-4" />} title={about.what.title}>
        {about.what.text}
      </Answer>
      <Answer icon={<Coins aria-hidden="true" className="size-4" />} title={about.cost.title}>
        {about.cost.text}
      </Answer>
      <Answer icon={<ShieldCheck aria-hidden="true" className="size-4" />} title={about.safety.title}>
        <Safety />
      </Answer>
    </aside>
  );
}

function Answer({ icon, title, children }: { icon: ReactNode; title: string; children: ReactNode }) {
  return (
    <section>
      <h2 className="flex items-center gap-2 font-semibold text-sm">
        <span className="text-brand">{icon}</span>
        {title}
      </h2>
      <div className="mt-1 text-ink-soft text-sm leading-relaxed">{children}</div>
    </section>
  );
}

function Safety() {
  const { mode, env_files: files } = useConfig();
  const words = about.safety;
  if (mode !== 'local') {
    return (
      <>
        <p>{words.production}</p>
        <p className="mt-2">{words.copilotKit}</p>
      </>
    );
  }
  return (
    <>
      <p>
        {words.local} <FileName path={files?.backend ?? '.env'} />.
      </p>
      {files?.frontend && (
        <p className="mt-2">
          {words.localFrontend} <FileName path={files.frontend} />. {words.copilotKitLocal}
        </p>
      )}
    </>
  );
}

export function FileName({ path }: { path: string }) {
  return <code className="break-all font-mono text-[0.85em] text-ink">{path}</code>;
}
