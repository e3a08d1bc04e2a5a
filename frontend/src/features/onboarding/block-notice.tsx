import type { SortedBlock } from '@/parts/env-block';
import { Button } from '@/shared/ui/button';
import { Notice } from '@/shared/ui/notice';
import { texts } from '@/texts';

const words = texts.setupParts.block;

/** What became of a pasted `.env` block. Names only: what is no key here is none of the page's business. */
export function BlockNotice({ block, onDismiss }: { block: SortedBlock; onDismiss: () => void }) {
  const { keys, empty, unknown } = block;
  const dismiss = (
    <Button size="small" kind="quiet" onClick={onDismiss}>
      {words.dismiss}
    </Button>
  );
  const isWarning = keys.length === 0 || keys.some(({ isExposed }) => isExposed);
  return (
    <Notice tone={isWarning ? 'warn' : 'good'} live title={words.title(keys.length)} action={dismiss}>
      <ul className="space-y-1">
        {keys.map(({ provider, name, passedOver, isExposed }) => (
          <li key={name}>
            <Name>{name}</Name> {words.went} {provider.name}.
            {passedOver.length > 0 && ` ${words.passedOver(passedOver)}`}
            {isExposed && ` ${words.exposed}`}
          </li>
        ))}
        <Rest label={words.empty} names={empty} />
        <Rest label={words.unknown} names={unknown} />
      </ul>
    </Notice>
  );
}

function Rest({ label, names }: { label: string; names: readonly string[] }) {
  if (names.length === 0) return null;
  return (
    <li>
      {label}: <Name>{names.join(', ')}</Name>
    </li>
  );
}

function Name({ children }: { children: string }) {
  return <code className="break-all font-mono text-xs">{children}</code>;
}
