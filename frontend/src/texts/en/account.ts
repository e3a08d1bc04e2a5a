const number = new Intl.NumberFormat();

export const account = {
  title: 'Account',
  lead: 'Who you are here, and what is kept for you.',
  you: {
    title: 'You',
    local: 'Local mode has no sign-in. Everything here belongs to the one user of this Keyfold.',
    localToken:
      'Local mode has no accounts. Whoever has KEYFOLD_LOCAL_TOKEN is the one user of this Keyfold.',
    name: 'Name',
    email: 'Email',
    id: 'User ID',
    kept: 'Name and email come from your sign-in. Keyfold keeps your user ID only.',
  },
  export: {
    title: 'Export my data',
    text: 'A JSON file with your keys as they are listed (masked, never the keys themselves), usage of the last year, your activity, and your progress in setting up.',
    action: 'Download my data',
    stop: 'Stop',
    working: (events: number) => `${number.format(events)} events so far…`,
    done: (name: string, events: number) =>
      `${name} is in your downloads, with ${number.format(events)} ${events === 1 ? 'event' : 'events'}.`,
  },
  remove: {
    title: 'Delete everything',
    text: 'Deletes your keys and all that is kept for you. It cannot be undone.',
    action: 'Delete everything…',
    question: 'Delete everything?',
    gone: 'What goes',
    goes: (isLocal: boolean) => [
      'your keys, and their earlier versions',
      ...(isLocal ? ['their lines in the .env files'] : []),
      'your progress in setting up, and your usage figures',
      ...(isLocal ? [] : ['your session: you are signed out']),
    ],
    stays: 'What stays',
    remains: (isLocal: boolean) => [
      'the audit log, which also says that you deleted everything',
      'backups that were made before, as long as they are kept',
      'the keys at the providers: make them invalid there if nobody shall use them',
      ...(isLocal
        ? ['variables of the environment that Keyfold was started with']
        : ['your account at the sign-in service']),
    ],
    word: 'delete',
    type: (word: string) => `Type “${word}” to go on`,
    confirm: 'Delete everything',
    doneTitle: 'Everything is deleted',
    doneText: 'Nothing of yours is kept but the audit log. You can begin anew at any time.',
    again: 'Set up again',
    signedOut: 'You are being signed out.',
  },
};
