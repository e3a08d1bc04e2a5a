import { type ComponentType, lazy, Suspense } from 'react';
import { Route, Switch } from 'wouter';
import { useSession } from '@/session/session';
import { Redirect, usePath, useSearch } from '@/shared/navigation';
import { Boundary } from '@/shared/ui/boundary';
import { SkeletonList } from '@/shared/ui/skeleton';
import { Home } from './home';
import { NotFound, ViewFailed } from './not-found';

// Every view of the page. Each is loaded when it is opened.
const OnboardingView = lazy(() =>
  import('@/features/onboarding/onboarding-view').then((view) => ({ default: view.OnboardingView })),
);
const KeysView = lazy(() => import('@/features/keys/keys-view').then((view) => ({ default: view.KeysView })));
const KeyView = lazy(() => import('@/features/keys/key-view').then((view) => ({ default: view.KeyView })));
const TryItView = lazy(() =>
  import('@/features/try-it/try-it-view').then((view) => ({ default: view.TryItView })),
);
const ActivityView = lazy(() =>
  import('@/features/activity/activity-view').then((view) => ({ default: view.ActivityView })),
);
const AccountView = lazy(() =>
  import('@/features/account/account-view').then((view) => ({ default: view.AccountView })),
);
const SignInView = lazy(() =>
  import('@/features/sign-in/sign-in-view').then((view) => ({ default: view.SignInView })),
);

export function Views() {
  const path = usePath();
  return (
    <Boundary key={path} failed={<ViewFailed />}>
      <Suspense fallback={<SkeletonList count={3} className="h-24" />}>
        <Switch>
          <Route path="/">{signedIn(Home)}</Route>
          <Route path="/onboarding">{signedIn(OnboardingView)}</Route>
          <Route path="/keys">{signedIn(KeysView)}</Route>
          <Route path="/keys/:provider">
            {({ provider }) => (
              <SignedInOnly>
                <KeyView provider={provider} />
              </SignedInOnly>
            )}
          </Route>
          <Route path="/try">{signedIn(TryItView)}</Route>
          <Route path="/activity">{signedIn(ActivityView)}</Route>
          <Route path="/account">{signedIn(AccountView)}</Route>
          <Route path="/sign-in">
            <SignInView />
          </Route>
          <Route path="/callback">
            <Redirect to="/" />
          </Route>
          <Route>
            <NotFound />
          </Route>
        </Switch>
      </Suspense>
    </Boundary>
  );
}

function signedIn(View: ComponentType) {
  return (
    <SignedInOnly>
      <View />
    </SignedInOnly>
  );
}

/** Others go to sign in, and come back to where they wanted to go. */
function SignedInOnly({ children }: { children: React.ReactNode }) {
  const { user } = useSession();
  const path = usePath();
  const search = useSearch();
  return user ? children : <Redirect to="/sign-in" search={{ to: search ? `${path}?${search}` : path }} />;
}
