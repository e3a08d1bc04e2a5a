export const assistant = {
  open: 'Open the assistant',
  close: 'Close the assistant',
  title: 'Assistant',
  lead: 'By CopilotKit, with your own key. What you write here goes to CopilotKit’s cloud.',
  loading: 'Loading the assistant…',
  placeholder: 'Ask something…',
  welcome: 'Hello. What would you like to know?',
  failed:
    'The assistant’s service does not answer, or refuses your CopilotKit key. The rest of the page works without it.',
  notLoaded: 'The assistant could not be loaded. Check the network and try again.',
  retry: 'Try again',
};
