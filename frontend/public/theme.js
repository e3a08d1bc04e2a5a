// Before the first paint: the theme that was chosen, or the system's.
try {
  const chosen = localStorage.getItem('keyfold-theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
} catch {
  // A browser without storage has the system's theme.
}
