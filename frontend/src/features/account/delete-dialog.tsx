import { useMutation } from '@tanstack/react-query';
import { type FormEvent, type ReactNode, useId, useState } from 'react';
import { useClient } from '@/session/client';
import { Button } from '@/shared/ui/button';
import { Dialog } from '@/shared/ui/dialog';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { TextField } from '@/shared/ui/text-field';
import { texts } from '@/texts';

type Props = { isLocal: boolean; onClose: () => void; onDeleted: () => void };

/** Says what goes and what stays, and wants a word typed: nobody does this by a wrong click. */
export function DeleteDialog({ isLocal, onClose, onDeleted }: Props) {
  const words = texts.account.remove;
  const form = useId();
  const client = useClient();
  const [typed, setTyped] = useState('');
  const removal = useMutation({ mutationFn: () => client.account.remove(), onSuccess: onDeleted });
  const isConfirmed = typed.trim().toLowerCase() === words.word;
  const remove = (event: FormEvent) => {
    event.preventDefault();
    if (isConfirmed && !removal.isPending) removal.mutate();
  };
  return (
    <Dialog
      open
      onOpenChange={(open) => !open && !removal.isPending && onClose()}
      title={words.question}
      description={words.text}
      actions={
        <>
          <Button disabled={removal.isPending} onClick={onClose}>
            {texts.common.cancel}
          </Button>
          <Button type="submit" form={form} kind="danger" disabled={!isConfirmed} busy={removal.isPending}>
            {words.confirm}
          </Button>
        </>
      }
    >
      <form id={form} onSubmit={remove} className="space-y-4 text-sm">
        <Listed title={words.gone} items={words.goes(isLocal)} />
        <Listed title={words.stays} items={words.remains(isLocal)} />
        <TextField
          label={words.type(words.word)}
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
        />
        <ProblemNotice error={removal.error} />
      </form>
    </Dialog>
  );
}

function Listed({ title, items }: { title: ReactNode; items: string[] }) {
  return (
    <div className="space-y-1">
      <h3 className="font-medium">{title}</h3>
      <ul className="list-disc space-y-0.5 pl-5 text-ink-soft">
        {items.map((item) => (
          <li key={item}>{item}</li>
        ))}
      </ul>
    </div>
  );
}
