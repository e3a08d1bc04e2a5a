import { Badge, type BadgeTone } from '@/shared/ui/badge';
import { texts } from '@/texts';

export type KeyStatus = keyof typeof texts.keyParts.status;

const TONES: Record<KeyStatus, BadgeTone> = {
  valid: 'good',
  limited: 'warn',
  rejected: 'bad',
  unverified: 'plain',
  unreadable: 'bad',
  missing: 'warn',
};

/** How it stands with a key, in two words. */
export function KeyStatusBadge({ status }: { status: string }) {
  const known = knownStatus(status);
  return <Badge tone={TONES[known]}>{texts.keyParts.status[known]}</Badge>;
}

/** A later server may know more; of those nothing is promised. */
export function knownStatus(status: string): KeyStatus {
  return status in TONES ? (status as KeyStatus) : 'unverified';
}

/** Whether calls with it may work. */
export function isUsable({ status }: { status: string }): boolean {
  return status !== 'rejected' && status !== 'unreadable';
}
