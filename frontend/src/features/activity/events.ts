import type { AuditEvent } from '@keyfold/client';
import { texts } from '@/texts';

/** One line of the list: an event, or the use of a key together with how that call ended. */
export interface Line {
  event: AuditEvent;
  end: AuditEvent | null;
  /** The use of a key whose call has not ended, as far as the log says. */
  isOpen: boolean;
}

/**
 * The newest first, as they come. The two events of one call are one line. Where some are left out by a filter, a
 * missing end says nothing.
 */
export function linesOf(events: AuditEvent[], areAll: boolean): Line[] {
  const ends = new Map<string, AuditEvent>();
  const opened = new Set<string>();
  for (const event of events) {
    if (!event.call_id) continue;
    if (event.action === 'key.ended') ends.set(event.call_id, event);
    if (event.action === 'key.opened') opened.add(event.call_id);
  }
  return events
    .filter((event) => event.action !== 'key.ended' || !event.call_id || !opened.has(event.call_id))
    .map((event) => {
      const isUse = event.action === 'key.opened' && Boolean(event.call_id);
      const end = isUse ? (ends.get(event.call_id ?? '') ?? null) : null;
      return { event, end, isOpen: areAll && isUse && !end };
    });
}

/** What was done, in a few words; an action that this page does not know as it is recorded. */
export function titleOf({ action, provider }: AuditEvent, nameOf: (id: string) => string): string {
  const words = own(texts.activity.done, action);
  if (words) return words(provider ? nameOf(provider) : texts.activity.aKey);
  return provider ? `${action} · ${nameOf(provider)}` : action;
}

export function outcomeIn(outcome: string): string {
  return own(texts.activity.outcome, outcome) ?? outcome;
}

export type Tone = 'plain' | 'good' | 'warn' | 'bad';

const TONES: Record<string, Tone> = {
  ok: 'good',
  valid: 'good',
  limited: 'warn',
  unverified: 'plain',
  abandoned: 'plain',
  conflict: 'warn',
  rejected: 'bad',
  failed: 'bad',
  no_key: 'warn',
  unreadable: 'bad',
  rate_limited: 'warn',
  forbidden: 'bad',
};

export function toneOf(outcome: string): Tone {
  return own(TONES, outcome) ?? 'plain';
}

/** Who did it, as part of a sentence. */
export function actorIn(actor: string): string {
  const { by } = texts.activity;
  const [kind, name] = split(actor);
  if (kind === 'service' && name) return by.service(name);
  if (kind === 'act' && name) return by.inYourName(name);
  const known: Record<string, string> = {
    user: by.user,
    operator: by.operator,
    application: by.application,
    issuer: by.issuer,
    keyfold: by.keyfold,
  };
  return own(known, actor) ?? actor;
}

export function purposeIn(purpose: string): string {
  return own(texts.activity.purpose, purpose) ?? purpose;
}

function split(actor: string): [string, string] {
  const at = actor.indexOf(':');
  return at < 0 ? [actor, ''] : [actor.slice(0, at), actor.slice(at + 1)];
}

/** Nothing that every object has, such as `constructor`. */
function own<Value>(words: Record<string, Value>, name: string): Value | undefined {
  return Object.hasOwn(words, name) ? words[name] : undefined;
}
