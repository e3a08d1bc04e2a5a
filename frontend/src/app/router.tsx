import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  redirect,
} from '@tanstack/react-router';
import { activitySearch } from '@/features/activity/search';
import { tryItSearch } from '@/features/try-it/search';
import { Home } from './home';
import { NotFound, ViewFailed } from './not-found';
import { Shell } from './shell';
import { SignedInOnly } from './signed-in-only';

// Every view of the page. Each is loaded when it is opened.
const root = createRootRoute({ component: Shell, notFoundComponent: NotFound, errorComponent: ViewFailed });
const signedIn = createRoute({ getParentRoute: () => root, id: 'signed-in', component: SignedInOnly });

const home = createRoute({ getParentRoute: () => signedIn, path: '/', component: Home });
const onboarding = createRoute({
  getParentRoute: () => signedIn,
  path: '/onboarding',
  component: lazyRouteComponent(() => import('@/features/onboarding/onboarding-view'), 'OnboardingView'),
});
const keys = createRoute({
  getParentRoute: () => signedIn,
  path: '/keys',
  component: lazyRouteComponent(() => import('@/features/keys/keys-view'), 'KeysView'),
});
const key = createRoute({
  getParentRoute: () => signedIn,
  path: '/keys/$provider',
  component: lazyRouteComponent(() => import('@/features/keys/key-view'), 'KeyView'),
});
const tryIt = createRoute({
  getParentRoute: () => signedIn,
  path: '/try',
  validateSearch: tryItSearch,
  component: lazyRouteComponent(() => import('@/features/try-it/try-it-view'), 'TryItView'),
});
const activity = createRoute({
  getParentRoute: () => signedIn,
  path: '/activity',
  validateSearch: activitySearch,
  component: lazyRouteComponent(() => import('@/features/activity/activity-view'), 'ActivityView'),
});
const account = createRoute({
  getParentRoute: () => signedIn,
  path: '/account',
  component: lazyRouteComponent(() => import('@/features/account/account-view'), 'AccountView'),
});
const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  component: lazyRouteComponent(() => import('@/features/sign-in/sign-in-view'), 'SignInView'),
});
// The session takes the issuer's answer before any view is shown.
const callback = createRoute({
  getParentRoute: () => root,
  path: '/callback',
  beforeLoad: () => {
    throw redirect({ to: '/', replace: true });
  },
});

const routeTree = root.addChildren([
  signedIn.addChildren([home, onboarding, keys, key, tryIt, activity, account]),
  signIn,
  callback,
]);

export const router = createRouter({ routeTree, defaultPreload: 'intent', scrollRestoration: true });

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
