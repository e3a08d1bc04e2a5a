import { Link } from '@/shared/navigation';
import { Button, buttonLook } from '@/shared/ui/button';
import { Empty } from '@/shared/ui/empty';
import { texts } from '@/texts';

export function NotFound() {
  const { title, text, action } = texts.common.notFound;
  return (
    <Empty
      title={title}
      titleAs="h1"
      action={
        <Link to="/" className={buttonLook('primary')}>
          {action}
        </Link>
      }
    >
      {text}
    </Empty>
  );
}

export function ViewFailed() {
  const { title, text, action } = texts.common.crash;
  return (
    <Empty
      title={title}
      titleAs="h1"
      action={
        <Button kind="primary" onClick={() => window.location.reload()}>
          {action}
        </Button>
      }
    >
      {text}
    </Empty>
  );
}
