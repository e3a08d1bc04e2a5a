export const signIn = {
  title: 'Sign in',
  lead: 'Your keys are yours alone. Sign in, so that Keyfold knows whose they are.',
  points: [
    'Each call made for you uses exactly your key, and nobody else’s.',
    'Keys are checked, encrypted and never shown again.',
    'You can replace or delete them at any time.',
  ],
  action: 'Sign in',
  continueWith: (host: string) => `Continue with ${host}`,
  noStorage:
    'This browser keeps nothing for this page, and signing in needs that. Allow cookies and site data for it, then reload.',
  notLoaded: {
    title: 'Signing in could not be loaded',
    text: 'People sign in here with Clerk, and its script did not come. Check the network, and whether something in this browser blocks it; then reload.',
  },
  failed: (issuer: string) =>
    `Signing in with ${issuer} did not work. Try again; if it stays so, tell whoever runs this Keyfold.`,
};
