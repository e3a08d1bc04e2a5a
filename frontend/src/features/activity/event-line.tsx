import type { AuditEvent } from '@keyfold/client';
import { ChevronRight } from 'lucide-react';
import { Badge } from '@/shared/ui/badge';
import { Moment } from '@/shared/ui/moment';
import { texts } from '@/texts';
import { actorIn, type Line, outcomeIn, purposeIn, titleOf, toneOf } from './events';

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' });

type Props = { line: Line; nameOf: (id: string) => string };

/** What was done, by whom and when; the rest on a click. */
export function EventLine({ line, nameOf }: Props) {
  const { event, end, isOpen } = line;
  const outcome = end?.outcome ?? event.outcome;
  const about = [event.purpose && purposeIn(event.purpose), actorIn(event.actor)].filter(Boolean);
  return (
    <details className="group">
      <summary className="flex cursor-pointer list-none items-center gap-3 px-4 py-3 hover:bg-sunken focus-visible:-outline-offset-2 [&::-webkit-details-marker]:hidden">
        <ChevronRight
          aria-hidden="true"
          className="size-4 shrink-0 text-ink-soft transition-transform group-open:rotate-90"
        />
        <span className="min-w-0 flex-1">
          <span className="flex flex-wrap items-center gap-x-2 gap-y-1">
            <span className="font-medium text-sm">{titleOf(event, nameOf)}</span>
            {isOpen ? (
              <Badge>{mayGoOn(event) ? texts.activity.running : texts.activity.noEnd}</Badge>
            ) : (
              <Badge tone={toneOf(outcome)}>{outcomeIn(outcome)}</Badge>
            )}
          </span>
          <span className="mt-0.5 block text-ink-soft text-sm">
            {about.join(' · ')}
            <span className="whitespace-nowrap sm:hidden">
              {' · '}
              <Moment at={event.at} />
            </span>
          </span>
        </span>
        <span className="hidden shrink-0 text-right text-ink-soft text-sm sm:block">
          <Moment at={event.at} />
        </span>
      </summary>
      <Details event={event} end={end} />
    </details>
  );
}

/** No call takes longer than that. */
const LONGEST = 15 * 60_000;

function mayGoOn({ at }: AuditEvent): boolean {
  return Date.now() - Date.parse(at) < LONGEST;
}

function Details({ event, end }: { event: AuditEvent; end: AuditEvent | null }) {
  const words = texts.activity.detail;
  const last = end ?? event;
  const took = last.duration_ms;
  const facts: [string, string | number | null | undefined][] = [
    [words.at, exact.format(new Date(event.at))],
    [words.duration, took == null ? null : words.seconds(took)],
    [words.address, event.address],
    [words.request, event.request_id],
    [words.call, event.call_id],
    [words.version, event.key_version],
    [words.status, last.provider_status],
    [words.note, [event.note, end?.note].filter(Boolean).join('; ')],
    [
      words.action,
      [event, end]
        .map((one) => one && `${one.action} ${one.outcome}`)
        .filter(Boolean)
        .join(', '),
    ],
  ];
  return (
    <dl className="grid gap-x-6 gap-y-2 border-line border-t bg-sunken px-4 py-3 text-sm sm:grid-cols-[auto_1fr] sm:pl-11">
      {facts.map(
        ([name, value]) =>
          value != null &&
          value !== '' && (
            <div key={name} className="sm:contents">
              <dt className="text-ink-soft">{name}</dt>
              <dd className="wrap-anywhere">{value}</dd>
            </div>
          ),
      )}
    </dl>
  );
}
