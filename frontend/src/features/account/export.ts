import type { AuditEvent, KeyfoldClient, KeyList, OnboardingProgress } from '@keyfold/client';

/** The most that the server gives at once. */
const PAGE = 200;
const DAYS = 366;

/** All that is kept for the user, but no secret. `onEvents` is told how many events are there so far. */
export async function collect(client: KeyfoldClient, signal: AbortSignal, onEvents: (count: number) => void) {
  const [{ keys }, { usage }, progress] = await Promise.all([
    client.keys.list({ signal }),
    client.usage({ days: DAYS }, { signal }),
    client.onboarding.progress({ signal }),
  ]);
  const activity: AuditEvent[] = [];
  for await (const events of client.audit.pages({ limit: PAGE }, { signal })) {
    activity.push(...events);
    onEvents(activity.length);
  }
  return {
    exported_at: new Date().toISOString(),
    keys: keys.map(keyRecord),
    usage,
    onboarding: onboardingRecord(progress),
    activity,
  };
}

export type Export = Awaited<ReturnType<typeof collect>>;

/** Named one by one, so that what a later server may say of a key does not get into a file by itself. */
function keyRecord(key: KeyList['keys'][number]) {
  return {
    provider: key.provider,
    masked: key.masked,
    status: key.status,
    source: key.source,
    version: key.version,
    created_at: key.created_at,
    updated_at: key.updated_at,
    last_used_at: key.last_used_at,
    last_verified_at: key.last_verified_at,
  };
}

/** Without the steps' data, which is whatever a caller put there. */
function onboardingRecord({ steps, ...progress }: OnboardingProgress) {
  return {
    started_at: progress.started_at,
    completed_at: progress.completed_at,
    is_completed: progress.is_completed,
    current_step: progress.current_step,
    steps: steps.map(({ step_number, title, status, completed_at }) => ({
      step_number,
      title,
      status,
      completed_at,
    })),
  };
}

/** The file is made here; nothing is sent anywhere. */
export function download(exported: Export): string {
  const name = `keyfold-${exported.exported_at.slice(0, 10)}.json`;
  const file = new Blob([`${JSON.stringify(exported, null, 2)}\n`], { type: 'application/json' });
  const address = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  // Once the browser has taken it.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  return name;
}
