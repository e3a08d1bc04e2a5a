import { ChevronDown, CircleQuestionMark, Coins, KeyRound, ShieldCheck } from 'lucide-react';
import type { ReactNode } from 'react';
import { useConfig } from '@/session/config-context';
import { texts } from '@/texts';

const { about } = texts.setupParts;

/** What a newcomer asks before pasting a secret into a page. */
export function AboutKeys() {
  return (
    <>
      <details className="group rounded-2xl border border-line bg-surface px-4 py-3 lg:hidden">
        <summary className="flex cursor-pointer list-none items-center gap-2 font-medium text-sm [&::-webkit-details-marker]:hidden">
          <CircleQuestionMark aria-hidden="true" className="size-4 shrink-0 text-brand" />
          {about.summary}
          <ChevronDown
            aria-hidden="true"
            className="ml-auto size-4 shrink-0 transition-transform group-open:rotate-180"
          />
        </summary>
        <div className="mt-4 pb-1">
          <Answers />
        </div>
      </details>
      <aside aria-label={about.label} className="order-last hidden lg:block">
        <Answers />
      </aside>
    </>
  );
}

function Answers() {
  return (
    <div className="grid content-start gap-5 sm:grid-cols-3 lg:grid-cols-1">
      <Answer icon={<KeyRound aria-hidden="true" className="size-4" />} title={about.what.title}>
        {about.what.text}
      </Answer>
      <Answer icon={<Coins aria-hidden="true" className="size-4" />} title={about.cost.title}>
        {about.cost.text}
      </Answer>
      <Answer icon={<ShieldCheck aria-hidden="true" className="size-4" />} title={about.safety.title}>
        <Safety />
      </Answer>
    </div>
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
  return <code className="font-mono text-[0.85em] text-ink [overflow-wrap:anywhere]">{path}</code>;
}
