import type { Provider } from '@keyfold/client';
import { ChevronRight } from 'lucide-react';
import { texts } from '@/texts';

/** How a key is made, step by step, for those who ask. */
export function SetupInstructions({ provider, isOpen = false }: { provider: Provider; isOpen?: boolean }) {
  const { setup_instructions: steps, name } = provider;
  if (steps.length === 0) return null;
  return (
    <details open={isOpen} className="group text-sm open:basis-full">
      <summary className="inline-flex cursor-pointer list-none items-center gap-1 rounded text-ink-soft hover:text-ink [&::-webkit-details-marker]:hidden">
        <ChevronRight
          aria-hidden="true"
          className="size-4 transition-transform group-open:rotate-90 motion-reduce:transition-none"
        />
        {texts.keyParts.howTo(name)}
      </summary>
      <ol className="mt-2 list-decimal space-y-1 pl-10 text-ink-soft marker:text-ink-soft">
        {steps.map((step) => (
          <li key={step}>{step}</li>
        ))}
      </ol>
    </details>
  );
}
