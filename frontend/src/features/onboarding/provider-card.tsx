import type { Key, Provider } from '@keyfold/client';
import { type Ref, useId } from 'react';
import type { SortedBlock } from '@/parts/env-block';
import { KeyField } from '@/parts/key-field';
import { isUsable, KeyStatusBadge } from '@/parts/key-status-badge';
import { OutcomeNotice } from '@/parts/outcome';
import { ProviderMark } from '@/parts/provider-mark';
import { SetupInstructions } from '@/parts/setup-instructions';
import { classes } from '@/shared/classes';
import { Badge } from '@/shared/ui/badge';
import { Button } from '@/shared/ui/button';
import { texts } from '@/texts';
import { type Draft, isFilled } from './drafts';

const words = texts.onboarding.keys;

export interface CardActions {
  type: (text: string) => void;
  open: () => void;
  close: () => void;
  test: () => void;
  move: (owner: Provider) => void;
  paste: (block: SortedBlock) => void;
}

type Props = {
  provider: Provider;
  providers: readonly Provider[];
  stored: Key | undefined;
  draft: Draft;
  /** Whether its field is there without a click. */
  isProminent: boolean;
  actions: CardActions;
  fieldRef: Ref<HTMLInputElement>;
};

/** A provider: what it is for, the key that is there, or the field for one. */
export function ProviderCard({ provider, providers, stored, draft, isProminent, actions, fieldRef }: Props) {
  const titleId = useId();
  const isBroken = stored !== undefined && !isUsable(stored);
  const isOptionalOpen = draft.isOpen || isFilled(draft) || draft.work !== null;
  const isFieldShown = stored ? isOptionalOpen || isBroken : isOptionalOpen || isProminent;
  const outcome = draft.outcome && <OutcomeNotice outcome={draft.outcome} />;
  return (
    <section
      aria-labelledby={titleId}
      className={classes(
        isFieldShown && !isProminent && 'sm:col-span-2',
        'rounded-2xl border border-line bg-surface',
        isFieldShown || isProminent ? 'p-4 sm:p-5' : 'p-3 sm:px-4',
      )}
    >
      <div className="flex items-start gap-3">
        <ProviderMark id={provider.id} name={provider.name} />
        <div className="min-w-0 flex-1">
          <div className="flex flex-wrap items-center gap-x-2 gap-y-1">
            <h3 id={titleId} className="font-semibold">
              {provider.name}
            </h3>
            {stored ? (
              <KeyStatusBadge status={stored.status} />
            ) : (
              provider.required && <Badge tone="brand">{texts.keyParts.required}</Badge>
            )}
          </div>
          <p className="text-ink-soft text-sm">{provider.description}</p>
          {stored && <StoredKey stored={stored} />}
        </div>
        {!isFieldShown && (
          <Button size="small" onClick={actions.open}>
            {stored ? words.replace : words.add}
            <ForProvider provider={provider} />
          </Button>
        )}
      </div>
      {isFieldShown && (
        <div className="mt-4 space-y-3">
          <KeyField
            ref={fieldRef}
            provider={provider}
            providers={providers}
            value={draft.text}
            onChange={actions.type}
            onBlock={actions.paste}
            onMove={actions.move}
            isInvalid={draft.outcome?.tone === 'bad'}
          />
          {outcome}
          <div className="flex flex-wrap items-center gap-2">
            <Button
              size="small"
              busy={draft.work !== null}
              disabled={!isFilled(draft)}
              onClick={actions.test}
            >
              {draft.work === null ? texts.keyParts.test : texts.keyParts.testing}
              <ForProvider provider={provider} />
            </Button>
            {(stored ? !isBroken : !isProminent) && (
              <Button size="small" kind="quiet" onClick={actions.close}>
                {stored ? words.keep : words.close}
                <ForProvider provider={provider} />
              </Button>
            )}
            <SetupInstructions provider={provider} />
          </div>
        </div>
      )}
      {!isFieldShown && outcome && <div className="mt-3">{outcome}</div>}
    </section>
  );
}

/** Many buttons say the same: those who hear them hear of which provider. */
function ForProvider({ provider }: { provider: Provider }) {
  return (
    <>
      {' '}
      <span className="sr-only">{words.forProvider(provider.name)}</span>
    </>
  );
}

function StoredKey({ stored: { masked, files = [] } }: { stored: Key }) {
  return (
    <p className="mt-1 flex flex-wrap gap-x-2 text-sm">
      <span className="font-mono">{masked}</span>
      {files.length > 0 && <span className="break-all text-ink-soft">{words.inFiles(files)}</span>}
    </p>
  );
}
