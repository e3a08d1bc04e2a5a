import { CopyButton } from './copy-button';

/** Code to take along. It scrolls, also by keyboard. */
export function CodeBlock({ code, label }: { code: string; label: string }) {
  return (
    <div className="overflow-hidden rounded-xl border border-line bg-sunken">
      <div className="flex items-center justify-between gap-2 border-line border-b py-1 pr-1 pl-4">
        <span className="text-ink-soft text-xs">{label}</span>
        <CopyButton text={code} />
      </div>
      <section
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
        tabIndex={0}
        aria-label={label}
        className="overflow-x-auto p-4 focus-visible:-outline-offset-2"
      >
        <pre className="font-mono text-[0.8125rem] leading-relaxed">
          <code>{code}</code>
        </pre>
      </section>
    </div>
  );
}
