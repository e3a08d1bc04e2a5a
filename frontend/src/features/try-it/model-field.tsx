import type { Provider } from '@keyfold/client';
import { useId } from 'react';
import { useUsage } from '@/parts/usage';
import { Button } from '@/shared/ui/button';
import { FieldHelp, inputLook } from '@/shared/ui/text-field';
import { texts } from '@/texts';
import { useListedModels } from './listed-models';

type Props = { provider: Provider; value: string; onChange: (model: string) => void };

/** Any model's name. Those that the user called before are suggested, and on a click those that the provider has. */
export function ModelField({ provider, value, onChange }: Props) {
  const id = useId();
  const words = texts.tryIt.generate;
  const used = useUsedModels(provider.id);
  const listed = useListedModels(provider);
  const suggested = new Set([provider.default_model, ...used, ...(listed.models ?? [])]);
  const usual = words.modelHint(provider.default_model ?? '');
  const found = listed.models && words.listed(provider.name, listed.models.length);
  return (
    <div className="space-y-1.5">
      <div className="flex items-center justify-between gap-2">
        <label htmlFor={id} className="block font-medium text-sm">
          {words.model}
        </label>
        {listed.canBeAsked && !listed.models && (
          <Button kind="quiet" size="small" className="-my-1.5" busy={listed.isAsking} onClick={listed.ask}>
            {words.listModels}
          </Button>
        )}
      </div>
      <input
        id={id}
        list={`${id}-models`}
        value={value}
        onChange={(event) => onChange(event.target.value)}
        placeholder={provider.default_model ?? ''}
        autoComplete="off"
        autoCapitalize="off"
        spellCheck={false}
        aria-describedby={`${id}-help`}
        className={inputLook}
      />
      <datalist id={`${id}-models`}>
        {[...suggested].map((model) => model && <option key={model} value={model} />)}
      </datalist>
      <FieldHelp
        id={`${id}-help`}
        hint={listed.hasFailed ? words.notListed(provider.name) : (found ?? usual)}
      />
    </div>
  );
}

/** What the user called in the last weeks; it is the server that remembers it. */
function useUsedModels(provider: string): string[] {
  const { data = [] } = useUsage(30);
  return data
    .filter((day) => day.provider === provider)
    .flatMap((day) => day.models)
    .flatMap(({ model, requests, errors }) => (model && requests > errors ? [model] : []));
}
