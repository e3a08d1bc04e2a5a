import type { Key, Provider } from '@keyfold/client';
import { useRef } from 'react';
import { useKeyActions } from '@/parts/key-actions';
import { COPILOTKIT } from '@/session/copilotkit-key';
import { Button } from '@/shared/ui/button';
import { Dialog } from '@/shared/ui/dialog';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { useWork } from '@/shared/use-work';
import { texts } from '@/texts';

const words = texts.keys.remove;

type Props = { isOpen: boolean; stored: Key; provider: Provider; onClose: () => void; onDeleted: () => void };

/** Asks, and says what stops working. */
export function DeleteDialog({ isOpen, stored, provider, onClose, onDeleted }: Props) {
  const { remove } = useKeyActions();
  // With the key goes the button that the focus would go back to.
  const isGoing = useRef(false);
  const removing = useWork(async () => {
    isGoing.current = true;
    await remove(provider.id).catch((error: unknown) => {
      isGoing.current = false;
      throw error;
    });
    onDeleted();
    onClose();
  });
  const actions = (
    <>
      <Button onClick={onClose}>{texts.common.cancel}</Button>
      <Button kind="danger" busy={removing.isRunning} onClick={() => removing.run()}>
        {words.confirm}
      </Button>
    </>
  );
  return (
    <Dialog
      open={isOpen}
      onOpenChange={(willBeOpen) => !willBeOpen && onClose()}
      title={words.title(provider.name)}
      description={words.cannotUndo}
      actions={actions}
      givesFocusBack={() => !isGoing.current}
    >
      <ul className="list-disc space-y-1 pl-5 text-sm">
        {consequences(stored, provider).map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
      {removing.error !== null && (
        <div className="mt-4">
          <ProblemNotice error={removing.error} />
        </div>
      )}
    </Dialog>
  );
}

function consequences({ files = [] }: Key, provider: Provider): string[] {
  const { stops } = words;
  const { name } = provider;
  return [
    provider.generates && stops.generates(name),
    provider.researches && stops.researches,
    provider.id === COPILOTKIT && stops.assistant,
    stops.gateway(name),
    provider.required && stops.required,
    files.length > 0 && stops.files(files),
  ].filter((line) => typeof line === 'string');
}
