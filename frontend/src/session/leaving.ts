const CHANNEL = 'keyfold-session';
/** What a browser keeps of a user, by the names that CopilotKit's front ends know. */
const KEPT = ['copilotkit_api_key', 'copilotkit_api_key_owner'];

/** At sign-out: takes away what this browser keeps of the user, and tells the other tabs. */
export function leaveBrowser() {
  for (const name of KEPT) localStorage.removeItem(name);
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage('signed-out');
  channel.close();
}

/** Calls when another tab signs out; gives back what ends that. */
export function onSignOutElsewhere(then: () => void): () => void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => {
    if (data === 'signed-out') then();
  };
  return () => channel.close();
}
