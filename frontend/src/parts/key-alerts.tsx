import { useKeys } from '@/parts/queries';
import { Link } from '@/shared/navigation';
import { Notice } from '@/shared/ui/notice';
import { texts } from '@/texts';
import { useNameOf } from './provider-name';

/** Keys that stopped working, on every view: nobody should find out from a failed call. */
export function KeyAlerts() {
  const { data: keys } = useKeys();
  const nameOf = useNameOf();
  const broken = keys?.keys.filter((key) => key.status === 'rejected' || key.status === 'unreadable') ?? [];
  if (broken.length === 0) return null;
  return (
    <div className="mb-6 space-y-2">
      {broken.map((key) => (
        <Notice key={key.provider} tone="bad">
          {texts.keyParts.alert(nameOf(key.provider), key.status === 'unreadable')}{' '}
          <Link
            to="/keys/$provider"
            params={{ provider: key.provider }}
            className="font-medium underline underline-offset-2"
          >
            {texts.keyParts.alertAction}
          </Link>
        </Notice>
      ))}
    </div>
  );
}
