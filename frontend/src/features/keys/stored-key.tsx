import type { Key, Provider } from '@keyfold/client';
import { RotateCcw, ShieldCheck, Trash2 } from 'lucide-react';
import { lazy, type ReactNode, Suspense, useState } from 'react';
import { useDraft } from '@/parts/draft';
import { useKeyActions } from '@/parts/key-actions';
import { isUsable, knownStatus } from '@/parts/key-status-badge';
import { type Outcome, outcomeOfNothing } from '@/parts/outcome';
import { whenTyping } from '@/parts/typing';
import { COPILOTKIT, readCopilotKitKey } from '@/session/copilotkit-key';
import { useSession } from '@/session/session';
import { Boundary } from '@/shared/ui/boundary';
import { Button } from '@/shared/ui/button';
import { Card } from '@/shared/ui/card';
import { Moment } from '@/shared/ui/moment';
import { Notice } from '@/shared/ui/notice';
import { texts } from '@/texts';
import { draftOfKey, KeyEntry } from './key-entry';
import { sourceOf } from './source';

const DeleteDialog = lazy(() =>
  import('./delete-dialog').then((module) => ({ default: module.DeleteDialog })),
);

const words = texts.keys;

type Words = Awaited<ReturnType<typeof whenTyping>>;

type Props = {
  stored: Key;
  provider: Provider;
  providers: readonly Provider[];
  onOutcome: (outcome: Outcome | null) => void;
};

/** The key that is there, and what can be done with it. */
export function StoredKey({ stored, provider, providers, onOutcome }: Props) {
  const [typed, type] = useDraft(draftOfKey(provider));
  // What was typed before somebody looked at another view is there again.
  const [replacing, setReplacing] = useState<'asked' | 'goes-on' | null>(
    typed !== '' && isUsable(stored) ? 'goes-on' : null,
  );
  const isReplacing = replacing !== null;
  const [deleting, setDeleting] = useState<'never' | 'open' | 'closed'>('never');
  const [work, setWork] = useState<'test' | 'rollBack' | null>(null);
  const { testStored, rollBack } = useKeyActions();
  const isBroken = !isUsable(stored);

  const run = async (kind: 'test' | 'rollBack', step: (words: Words) => Promise<Outcome>) => {
    setWork(kind);
    onOutcome(null);
    const words = await whenTyping().catch(() => null);
    const failed = (error: unknown) => words?.outcomeOfError(error, provider, { isStored: true });
    onOutcome((words && (await step(words).catch(failed))) || outcomeOfNothing());
    setWork(null);
  };
  const test = () =>
    run('test', async ({ outcomeOfVerdict }) =>
      outcomeOfVerdict(await testStored(provider.id), { isStored: true }),
    );
  const goBack = () =>
    run('rollBack', async () => {
      await rollBack(provider.id);
      const lines = provider.id === COPILOTKIT ? [words.rollBack.copilotKit] : [];
      return { tone: 'good', title: words.rollBack.done, lines };
    });

  return (
    <>
      <Warnings stored={stored} />
      <Card className="space-y-5">
        <Facts stored={stored} />
        {isReplacing || isBroken ? (
          <div className="space-y-4 border-line border-t pt-5">
            <div>
              <h2 className="font-semibold">{words.replace.title}</h2>
              <p className="text-ink-soft text-sm">{words.replace.text}</p>
            </div>
            <KeyEntry
              provider={provider}
              providers={providers}
              saveLabel={words.replace.save}
              takesFocus={replacing === 'asked'}
              onSaved={(outcome) => {
                setReplacing(null);
                onOutcome(outcome);
              }}
            >
              {isReplacing && (
                <Button
                  kind="quiet"
                  onClick={() => {
                    type('');
                    setReplacing(null);
                  }}
                >
                  {words.replace.keep}
                </Button>
              )}
            </KeyEntry>
          </div>
        ) : null}
        {!isReplacing && (
          <div className="flex flex-wrap gap-2 border-line border-t pt-5">
            <Button
              icon={<ShieldCheck aria-hidden="true" className="size-4" />}
              busy={work === 'test'}
              onClick={test}
            >
              {work === 'test' ? texts.keyParts.testing : isBroken ? words.testStored : texts.keyParts.test}
            </Button>
            {!isBroken && (
              <Button
                onClick={() => {
                  onOutcome(null);
                  setReplacing('asked');
                }}
              >
                {words.replace.action}
              </Button>
            )}
            <Button
              kind="danger"
              icon={<Trash2 aria-hidden="true" className="size-4" />}
              onClick={() => setDeleting('open')}
              className="sm:ml-auto"
            >
              {words.remove.action}
            </Button>
          </div>
        )}
      </Card>
      {stored.has_previous && (
        <Card className="flex flex-wrap items-center justify-between gap-3">
          <div>
            <h2 className="font-semibold">{words.rollBack.title}</h2>
            <p className="text-ink-soft text-sm">
              {words.rollBack.text} <Moment at={keptUntil(stored)} />.
            </p>
          </div>
          <Button
            icon={<RotateCcw aria-hidden="true" className="size-4" />}
            busy={work === 'rollBack'}
            onClick={goBack}
          >
            {words.rollBack.action}
          </Button>
        </Card>
      )}
      {/* Stays when it closes: it gives the focus back. */}
      {deleting !== 'never' && (
        <Boundary failed={<Notice tone="warn">{texts.common.crash.part}</Notice>}>
          <Suspense>
            <DeleteDialog
              isOpen={deleting === 'open'}
              stored={stored}
              provider={provider}
              onClose={() => setDeleting('closed')}
              onDeleted={() =>
                onOutcome({ tone: 'good', title: words.remove.done(provider.name), lines: [] })
              }
            />
          </Suspense>
        </Boundary>
      )}
    </>
  );
}

const KEPT_HOURS = 24;

function keptUntil({ updated_at: replacedAt }: Key): string | null {
  if (!replacedAt) return null;
  return new Date(Date.parse(replacedAt) + KEPT_HOURS * 3_600_000).toISOString();
}

function Warnings({ stored }: { stored: Key }) {
  const { user } = useSession();
  const { provider, status, source, overridden } = stored;
  const isOnlyOnServer = provider === COPILOTKIT && user !== null && readCopilotKitKey(user.id) === null;
  return (
    <>
      {status === 'unreadable' && (
        <Notice tone="bad" title={words.unreadable.title}>
          {words.unreadable.text}
        </Notice>
      )}
      {status === 'rejected' && (
        <Notice tone="bad" title={words.rejected.title}>
          {words.rejected.text}
        </Notice>
      )}
      {overridden ? (
        <Notice tone="warn">{words.overridden(overridden)}</Notice>
      ) : (
        source === 'environment' && <Notice tone="warn">{words.environment}</Notice>
      )}
      {isOnlyOnServer && <Notice>{words.notInBrowser}</Notice>}
    </>
  );
}

function Facts({ stored }: { stored: Key }) {
  const { facts } = words;
  const { files = [], version } = stored;
  return (
    <dl className="grid grid-cols-[auto_minmax(0,1fr)] gap-x-6 gap-y-2.5 text-sm sm:grid-cols-[9rem_minmax(0,1fr)]">
      <Fact name={facts.key}>
        <span className="font-mono">{stored.masked}</span>
      </Fact>
      <Fact name={facts.status}>{texts.keyParts.statusHelp[knownStatus(stored.status)]}</Fact>
      <Fact name={facts.source}>{sourceOf(stored)}</Fact>
      {files.length > 0 && (
        <Fact name={facts.files}>
          {files.map((file) => (
            <code key={file} className="block break-words font-mono text-xs leading-5">
              {file}
            </code>
          ))}
        </Fact>
      )}
      {stored.updated_at && (
        <Fact name={facts.saved}>
          <Moment at={stored.updated_at} />
          {version != null && version > 1 && (
            <span className="text-ink-soft">
              {' '}
              · {facts.version} {version}
            </span>
          )}
        </Fact>
      )}
      <Fact name={facts.lastUsed}>
        <Moment at={stored.last_used_at} />
      </Fact>
      <Fact name={facts.lastChecked}>
        <Moment at={stored.last_verified_at} />
      </Fact>
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt className="text-ink-soft">{name}</dt>
      <dd className="min-w-0">{children}</dd>
    </>
  );
}
