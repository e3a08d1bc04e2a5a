// The overview of local mode: which keys there are, how they stand, and the one thing to do next.

const $ = (id) => document.getElementById(id);
const UNREACHABLE = 'Keyfold cannot be reached. Check that it is running (keyfold serve), then try again.';

/** An element with properties or attributes; children are text or elements, never markup. */
function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// --- Talking to Keyfold ---

class Problem extends Error {}

/** What a refusal says, in its own words. */
function problemOf(body, status) {
  const detail = body?.detail || `Keyfold answered with status ${status} and no explanation. Try again; if it stays, look into Keyfold’s log.`;
  // Where the log has more to say, the id finds it there.
  const inLog = ['internal_error', 'database_unavailable'].includes(body?.code);
  return new Problem(inLog ? `${detail} (Request ${body.request_id})` : detail);
}

async function send(method, path, body, signal) {
  const options = { method, signal, headers: {} };
  if (body !== undefined) {
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options).catch((error) => {
    throw error.name === 'AbortError' ? error : new Problem(UNREACHABLE);
  });
  if (!response.ok) throw problemOf(await response.json().catch(() => null), response.status);
  return response;
}

async function call(method, path, body) {
  const response = await send(method, path, body);
  if (response.status === 204) return null;
  return response.json().catch(() => {
    throw new Problem(`The answer to ${method} ${path} did not arrive whole. Try again.`);
  });
}

/** Server-sent events, one at a time. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer = (buffer + value).replaceAll('\r\n', '\n');
    const blocks = buffer.split('\n\n');
    buffer = blocks.pop();
    for (const block of blocks) {
      const field = (name) => block.split('\n').filter((line) => line.startsWith(`${name}:`))
        .map((line) => line.slice(name.length + 1).replace(/^ /, '')).join('\n');
      if (field('data')) yield { name: field('event') || 'message', data: JSON.parse(field('data')) };
    }
  }
}

// --- Words ---

const STATUS = {
  valid: ['Works', 'ok', (p) => `${p.name} accepts this key.`],
  limited: ['Limited', 'warn', (p) => `The key is live, but restricted: out of quota, or without a permission. Check it to see why, and look at your ${p.name} account.`],
  rejected: ['Refused', 'bad', (p) => `${p.name} refused this key. Get a new one and save it here.`],
  unverified: ['Not checked', 'plain', (p) => p.checkable
    ? `${p.name} has not confirmed this key yet. You can use it, or check it now.`
    : `${p.name} has no free way to check a key. You find out when you use it.`],
  unreadable: ['Unreadable', 'bad', (p) => `What is stored for ${p.variable} cannot be used as a key. Enter the key again.`],
};
const SOURCE = {
  env_file: 'from your .env file',
  environment: 'from this process’s environment (overrides the file)',
  database: 'database',
};
const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

const time = (text, otherwise) => (text ? h('time', { dateTime: text }, TIME.format(new Date(text))) : otherwise);
const endOf = (masked) => masked.replace(/^[*•]+/, '');
const and = (names) => new Intl.ListFormat('en').format(names);

// --- What is known ---

const known = { config: null, providers: [], optional: [], keys: new Map(), setup: null };

const usable = (provider) => !['rejected', 'unreadable', undefined].includes(known.keys.get(provider.id)?.status);
const needed = () => known.providers.filter((provider) => provider.required && !usable(provider));
const lastStep = () => known.setup.steps.length;
const open = (step) => !['completed', 'skipped'].includes(step.status);

async function refresh() {
  const [keys, init] = await Promise.all([call('GET', '/api/keys'), call('GET', '/api/onboarding/init')]);
  known.keys = new Map(keys.keys.map((key) => [key.provider, key]));
  known.setup = init.onboarding;
  render();
}

async function load() {
  try {
    known.config ??= await call('GET', '/api/config');
    $('mode').replaceChildren(modeInWords());
    if (known.config.mode === 'local') {
      if (!known.providers.length) {
        const [list, setup] = await Promise.all([call('GET', '/api/providers'), call('GET', '/api/onboarding/config')]);
        known.optional = setup.optional_steps;
        // Those that setup needs come first, in its order.
        const order = setup.step_requirements[1] ?? [];
        const rank = (provider) => (provider.required ? order.indexOf(provider.id) : order.length);
        known.providers = list.providers.sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name));
      }
      await refresh();
      $('local').hidden = false;
    }
    $('problem').replaceChildren();
  } catch (error) {
    showProblem(error);
  }
}

function showProblem(error) {
  const again = h('button', { type: 'button', className: 'quiet', onclick: load }, 'Try again');
  $('problem').replaceChildren(h('div', { className: 'note bad' }, h('p', {}, error.message), h('div', { className: 'row' }, again)));
}

function modeInWords() {
  const { mode, auth } = known.config;
  if (mode === 'local') {
    return auth.kind === 'token'
      ? 'Local mode, for one person. Every request must carry the local token; this browser has it. A key you save goes into Keyfold’s database and your .env file.'
      : 'Local mode, for one person on this computer, without sign-in. A key you save goes into Keyfold’s database and your .env file.';
  }
  const kinds = { clerk: 'with Clerk', oidc: 'with an OpenID Connect account' };
  return `Keyfold runs in ${mode} mode; people sign in ${kinds[auth.kind] ?? `(${auth.kind})`}. This page serves local mode only. Your own front end calls the API instead: see “API” above.`;
}

// --- Small parts ---

/** A region that is read out when it changes. */
function resultRegion() {
  const region = h('div', { className: 'result', role: 'status' });
  const tell = (kind, text, items = []) => {
    const list = items.length ? h('ul', {}, ...items.map((item) => h('li', {}, item))) : null;
    region.replaceChildren(h('div', { className: `note ${kind}` }, h('p', {}, text), list ?? ''));
  };
  return { region, tell, clear: () => region.replaceChildren() };
}

/** Runs once at a time; the button stays focusable meanwhile. */
function during(button, work, words) {
  const label = button.textContent;
  return async (event) => {
    event?.preventDefault();
    if (button.getAttribute('aria-disabled') === 'true') return;
    button.setAttribute('aria-disabled', 'true');
    button.textContent = words;
    try {
      await work();
    } finally {
      button.removeAttribute('aria-disabled');
      button.textContent = label;
    }
  };
}

function setupLink(provider) {
  if (!/^https?:\/\//.test(provider.setup_url)) return provider.setup_url;
  const host = new URL(provider.setup_url).host;
  return h('a', { href: provider.setup_url, target: '_blank', rel: 'noopener noreferrer' }, `Get a key at ${host} (new tab)`);
}

/** Where a key is entered. The key leaves the page with the request, and the field is emptied. */
function keyForm(provider, id, afterSaving) {
  const input = h('input', { id, type: 'password', autocomplete: 'off', spellcheck: false, autocapitalize: 'none', 'aria-describedby': `${id}-hint` });
  const show = h('button', { type: 'button', className: 'quiet', 'aria-controls': id, 'aria-label': 'Show the key' }, 'Show');
  const save = h('button', {}, 'Save key');
  const result = resultRegion();
  const reveal = (shown) => {
    input.type = shown ? 'text' : 'password';
    show.textContent = shown ? 'Hide' : 'Show';
    show.setAttribute('aria-label', shown ? 'Hide the key' : 'Show the key');
  };
  const empty = () => {
    input.value = '';
    input.removeAttribute('aria-invalid');
    reveal(false);
  };
  const fail = (text) => {
    result.tell('bad', text);
    input.setAttribute('aria-invalid', 'true');
    input.focus();
  };
  show.onclick = () => reveal(input.type === 'password');
  input.oninput = () => input.removeAttribute('aria-invalid');
  const submit = during(save, async () => {
    if (!input.value.trim()) return fail(`Paste your ${provider.name} key first.`);
    result.tell('plain', `Asking ${provider.name}…`);
    let saved;
    try {
      saved = await call('PUT', `/api/keys/${encodeURIComponent(provider.id)}`, { key: input.value });
    } catch (error) {
      return fail(error.message);
    }
    empty();
    const words = saved.status === 'valid' ? `Saved. ${provider.name} accepts this key.` : 'Saved.';
    result.clear();
    await afterSaving(saved.warnings.length ? 'warn' : 'ok', words, saved.warnings, result);
  }, 'Checking…');
  const label = h('label', { htmlFor: id });
  const update = () => { label.textContent = `${known.keys.has(provider.id) ? 'New' : 'Your'} ${provider.name} key`; };
  const form = h('form', { autocomplete: 'off', noValidate: true, onsubmit: submit },
    label,
    h('div', { className: 'with-button' }, input, show),
    h('p', { id: `${id}-hint`, className: 'hint' }, setupLink(provider), h('br'), `A key ${provider.format_hint}.`),
    save, result.region);
  addEventListener('pagehide', empty);
  return { form, update, empty: () => save.getAttribute('aria-disabled') !== 'true' && empty() };
}

function confirmRemoval(provider) {
  const key = known.keys.get(provider.id);
  $('ask-title').textContent = `Remove your ${provider.name} key?`;
  $('ask-text').textContent = key?.source === 'environment'
    ? `The saved copies are removed. ${provider.variable} is also set for this process and stays in use until you unset it and restart Keyfold.`
    : `It is removed from Keyfold and from your .env file, with its earlier versions. This cannot be undone.`;
  return new Promise((resolve) => {
    const answer = (yes) => () => { $('ask').close(yes ? 'yes' : ''); };
    $('ask').returnValue = '';
    $('ask-yes').onclick = answer(true);
    $('ask-no').onclick = answer(false);
    $('ask').onclose = () => resolve($('ask').returnValue === 'yes');
    $('ask').showModal();
  });
}

// --- One provider in the list ---

const rows = new Map();

function providerRow(provider) {
  const ends = h('span', { className: 'ends' });
  const badge = h('span', { className: 'badge' });
  const facts = h('dl', { className: 'facts' });
  const check = h('button', { type: 'button', className: 'quiet' }, 'Check now');
  const remove = h('button', { type: 'button', className: 'danger' }, 'Remove');
  const actions = h('div', { className: 'row' }, check, remove);
  const result = resultRegion();
  const summary = h('summary', {}, h('span', {}, h('span', { className: 'name' }, provider.name), ' ', ends), badge);
  const entry = keyForm(provider, `key-${provider.id}`, async (kind, words, warnings, told) => {
    result.clear();
    told.tell(kind, words, warnings);
    await quietly(refresh);
  });
  const details = h('details', {}, summary,
    h('div', { className: 'inside' }, h('p', { className: 'muted' }, provider.description), facts, actions, result.region, entry.form));
  details.ontoggle = () => details.open || entry.empty();

  check.onclick = during(check, async () => {
    result.tell('plain', `Asking ${provider.name}…`);
    try {
      const verdict = await call('POST', `/api/keys/${encodeURIComponent(provider.id)}/validate`);
      result.tell({ valid: 'ok', limited: 'warn', rejected: 'bad' }[verdict.status] ?? 'plain', verdict.detail);
    } catch (error) {
      result.tell('bad', error.message);
    }
    await quietly(refresh);
  }, 'Checking…');
  remove.onclick = async () => {
    if (!(await confirmRemoval(provider))) return;
    try {
      await call('DELETE', `/api/keys/${encodeURIComponent(provider.id)}`);
      await quietly(refresh);
      if (known.keys.has(provider.id)) {
        result.tell('warn', `The saved copies are removed. ${provider.variable} is still set for this process: unset it and restart Keyfold to stop using that key.`);
      } else {
        result.tell('ok', `Your ${provider.name} key was removed.`);
        summary.focus();
      }
    } catch (error) {
      result.tell('bad', error.message);
    }
  };

  const update = () => {
    const key = known.keys.get(provider.id);
    const [word, kind, help] = key ? STATUS[key.status] ?? [key.status, 'plain', () => '']
      : provider.required ? ['Missing', 'bad', () => 'Needed, and not there yet. Enter it below.'] : ['No key', 'none', () => ''];
    badge.textContent = word;
    badge.className = `badge ${kind}`;
    ends.textContent = key && endOf(key.masked) ? `ends in ${endOf(key.masked)}` : '';
    const never = key?.version ? 'not yet' : 'not since Keyfold started';
    const fact = (name, value) => (value ? [h('dt', {}, name), h('dd', {}, value)] : []);
    facts.replaceChildren(...fact('State', help(provider)), ...(key ? [
      ...fact('Source', SOURCE[key.source] ?? key.source),
      ...fact('Variable', h('code', {}, provider.variable)),
      ...fact('Saved', time(key.updated_at)),
      ...fact('Last used', time(key.last_used_at, never)),
      ...fact('Last checked', time(key.last_verified_at, never)),
    ] : []));
    actions.hidden = !key;
    entry.update();
  };
  return { item: h('li', {}, details), details, update };
}

// --- The steps ---

const steps = [];

function stepItem(number) {
  const state = h('span', { className: 'state' });
  const title = h('span');
  const heading = h('h3', { tabIndex: -1 }, title, ' ', state);
  const about = h('p', { className: 'muted' });
  const body = h('div', { className: 'body' });
  const result = resultRegion();
  const item = h('li', { className: 'step' }, heading, about, body, result.region);
  return { number, item, heading, title, state, about, body, result };
}

/** The first step: a form for the first key that is needed, or what was found. */
function keysStep(step) {
  const forms = new Map();
  const lead = h('p');
  const go = h('button', { type: 'button' }, 'Check and continue');
  go.onclick = during(go, async () => {
    try {
      for (const provider of known.providers.filter((p) => p.required)) {
        const verdict = await call('POST', `/api/keys/${encodeURIComponent(provider.id)}/validate`);
        if (verdict.valid === false) {
          await quietly(refresh);
          return step.result.tell('bad', verdict.detail);
        }
      }
      await completeStep(1);
      step.result.clear();
      focusNext();
    } catch (error) {
      step.result.tell('bad', error.message);
    }
  }, 'Checking…');
  for (const provider of known.providers.filter((p) => p.required)) {
    forms.set(provider.id, keyForm(provider, `step-key-${provider.id}`, async (kind, words, warnings) => {
      const done = await quietly(async () => {
        await refresh();
        if (!needed().length && open(known.setup.steps[0])) await completeStep(1);
      });
      step.result.tell(kind, words, warnings);
      if (done) focusNext();
    }));
  }
  step.body.append(lead, ...[...forms.values()].map(({ form }) => form), go);
  let asked;
  return () => {
    const required = known.providers.filter((p) => p.required);
    const [wanted, ...later] = needed();
    const mark = wanted && known.keys.get(wanted.id);
    // What was told of another state is over.
    if (asked !== wanted) step.result.clear();
    asked = wanted;
    for (const [id, { form, update }] of forms) {
      form.hidden = id !== wanted?.id;
      update();
    }
    go.hidden = Boolean(wanted) || !open(known.setup.steps[0]);
    if (wanted) {
      lead.textContent = `${mark ? `${STATUS[mark.status][2](wanted)} ` : ''}${later.length ? `After it: ${and(later.map((p) => p.name))}.` : ''}`;
    } else {
      lead.textContent = required.map((p) => `${p.name}: ${STATUS[known.keys.get(p.id).status]?.[0].toLowerCase() ?? ''}, ${SOURCE[known.keys.get(p.id).source]}.`).join(' ');
    }
    lead.hidden = !lead.textContent;
  };
}

/** A prompt, and the answer as it comes. */
function tryIt() {
  const prompt = h('textarea', { id: 'prompt', rows: 2 }, 'Explain in two sentences what an API key is.');
  const select = h('select', { id: 'with' });
  const ask = h('button', {}, 'Ask');
  const stop = h('button', { type: 'button', className: 'quiet', disabled: true }, 'Stop');
  const tell = h('p', { className: 'tell', role: 'status' });
  const answer = h('div', { className: 'answer', tabIndex: 0, role: 'region', 'aria-label': 'Answer', 'data-empty': 'The answer appears here.' });
  let running = null;
  const say = (text, kind = '') => {
    tell.className = `tell ${kind}`;
    tell.textContent = text;
  };
  stop.onclick = () => running?.abort();

  async function stream() {
    const response = await send('POST', '/api/generate', { prompt: prompt.value, provider: select.value, stream: true }, running.signal);
    for await (const { name, data } of eventsOf(response)) {
      if (name === 'delta') {
        if (!answer.textContent) say('Answering…');
        const atEnd = answer.scrollHeight - answer.scrollTop - answer.clientHeight < 8;
        answer.append(data.text);
        if (atEnd) answer.scrollTop = answer.scrollHeight;
      }
      if (name === 'error') throw problemOf(data, data.status);
      if (name === 'done') return data;
    }
    throw new Problem('The answer broke off before its end. Try again.');
  }

  const submit = during(ask, async () => {
    if (!prompt.value.trim()) {
      say('Write a question first.', 'bad');
      return prompt.focus();
    }
    running = new AbortController();
    stop.disabled = false;
    answer.textContent = '';
    answer.setAttribute('aria-busy', 'true');
    say(`Waiting for ${nameOf(select.value)}…`);
    try {
      const { usage, model } = await stream();
      const count = (tokens) => tokens ?? 'an unknown number of';
      say(`Done. ${model} used ${count(usage.input_tokens)} tokens for the question and ${count(usage.output_tokens)} for the answer.`);
      if (known.config.onboarding === 'keyfold' && open(known.setup.steps[1])) await completeStep(2);
    } catch (error) {
      if (running.signal.aborted) say('Stopped. What came until then stays above.');
      else say(error instanceof Problem ? error.message : UNREACHABLE, 'bad');
    } finally {
      if (document.activeElement === stop) ask.focus();
      stop.disabled = true;
      answer.removeAttribute('aria-busy');
      await quietly(refresh);
    }
  }, 'Asking…');

  const form = h('form', { noValidate: true, onsubmit: submit },
    h('div', { className: 'field' }, h('label', { htmlFor: 'prompt' }, 'Question'), prompt),
    h('div', { className: 'field' }, h('label', { htmlFor: 'with' }, 'Provider'), select),
    h('div', { className: 'row' }, ask, stop), answer, tell);
  const update = () => {
    const ready = known.providers.filter((provider) => provider.generates && (known.keys.get(provider.id)?.status ?? 'unreadable') !== 'unreadable');
    const chosen = select.value || 'gemini';
    const ids = ready.map((provider) => provider.id).join();
    if (select.dataset.ids !== ids) {
      select.dataset.ids = ids;
      select.replaceChildren(...ready.map((p) => h('option', { value: p.id }, `${p.name}${p.default_model ? ` (${p.default_model})` : ''}`)));
      select.value = ready.some((provider) => provider.id === chosen) ? chosen : ready[0]?.id ?? '';
    }
    form.hidden = !ready.length;
  };
  return { form, update };
}

function finishStep(step) {
  const go = h('button', { type: 'button' }, 'Finish setup');
  const lead = h('p');
  go.onclick = during(go, async () => {
    try {
      await call('POST', '/api/onboarding/complete');
      step.result.clear();
      await quietly(refresh);
      $('next').focus();
    } catch (error) {
      step.result.tell('bad', error.message);
    }
  }, 'Finishing…');
  step.body.append(lead, go);
  return () => {
    const current = known.setup.current_step === step.number && !known.setup.is_completed && !needed().length;
    go.hidden = !current;
    lead.hidden = !known.setup.is_completed;
    lead.replaceChildren('Finished on ', time(known.setup.completed_at, 'an unknown date'), '.');
  };
}

/** A step whose content is the host application's, or one that can be passed over. */
function skippable(step, elsewhere) {
  const words = h('p', {}, elsewhere);
  const skip = h('button', { type: 'button', className: 'quiet' }, 'Skip this step');
  skip.onclick = during(skip, async () => {
    try {
      await call('POST', `/api/onboarding/step/${step.number}/skip`);
      await quietly(refresh);
      focusNext();
    } catch (error) {
      step.result.tell('bad', error.message);
    }
  }, 'Skipping…');
  const row = h('div', { className: 'row' }, skip);
  step.body.append(words, row);
  return () => {
    const current = known.setup.current_step === step.number && open(known.setup.steps[step.number - 1]) && !needed().length;
    words.hidden = !current || !elsewhere;
    row.hidden = !current || !known.optional.includes(step.number);
  };
}

async function completeStep(number) {
  await call('POST', `/api/onboarding/step/${number}/complete`, { data: {} });
  await refresh();
}

/** After work that succeeded: a failing refresh is told at the top of the page. */
async function quietly(work) {
  try {
    await work();
    return true;
  } catch (error) {
    showProblem(error);
    return false;
  }
}

function focusNext() {
  const current = steps.find((step) => step.item.hasAttribute('aria-current'));
  const field = current?.number === 1 && current.body.querySelector('form:not([hidden]) input');
  (field || current?.heading || $('next')).focus();
}

// --- Putting it on the page; what is there already is updated in place, so typing and focus stay ---

let attempt = null;

function build() {
  for (const provider of known.providers) rows.set(provider.id, providerRow(provider));
  attempt = tryIt();
  const withTry = known.config.onboarding === 'keyfold';
  for (const { step_number: number } of known.setup.steps) {
    const step = stepItem(number);
    if (number === 1) step.update = keysStep(step);
    else if (number === lastStep()) step.update = finishStep(step);
    else if (number === 2 && withTry) {
      step.body.append(attempt.form);
      step.update = skippable(step, '');
    } else step.update = skippable(step, 'This step is done in your own application. It shows here when it is.');
    steps.push(step);
  }
  $('steps').append(...steps.map((step) => step.item));
  if (!withTry) $('try-apart').append(h('div', { className: 'box' }, h('h3', {}, 'Try it'), attempt.form));
}

function render() {
  if (!steps.length) build();
  const { setup } = known;
  const [wanted] = needed();
  const current = wanted ? 1 : setup.is_completed ? 0 : setup.current_step;

  for (const step of steps) {
    const { title, description, status } = setup.steps[step.number - 1];
    const missing = step.number === 1 && wanted;
    step.title.textContent = title;
    step.about.textContent = description.endsWith('.') ? description : `${description}.`;
    step.state.textContent = missing ? (open(setup.steps[0]) ? '' : 'A key is needed again') : { completed: 'Completed', skipped: 'Skipped' }[status] ?? '';
    step.item.dataset.status = missing ? 'open' : status;
    if (step.number === current) step.item.setAttribute('aria-current', 'step');
    else step.item.removeAttribute('aria-current');
    step.update();
  }
  attempt.update();
  $('try-apart').hidden = attempt.form.hidden;

  const settled = setup.steps.filter((step) => !open(step)).length;
  $('next').textContent = `${nextInWords(current, wanted)}`;
  $('next-help').textContent = !setup.is_completed ? `${settled} of ${lastStep()} steps done.`
    : wanted ? 'Setup was finished before, but nothing works without this key.' : 'Setup is finished.';

  for (const provider of known.providers) {
    const row = rows.get(provider.id);
    row.update();
    // An open row stays where it is: somebody is reading or typing there.
    const list = known.keys.has(provider.id) || provider.required ? $('keys') : $('other-keys');
    if (!row.details.open || !row.item.isConnected) list.append(row.item);
  }
  $('others').hidden = !$('other-keys').children.length;
  const count = known.keys.size;
  const missing = known.providers.filter((p) => p.required && !known.keys.has(p.id)).map((p) => p.name);
  $('keys-help').textContent = `${count === 0 ? 'No key yet.' : count === 1 ? 'One key.' : `${count} keys.`}${missing.length ? ` Still needed: ${and(missing)}.` : ''}`;
}

function nextInWords(current, wanted) {
  if (wanted) return known.keys.has(wanted.id) ? `Next: replace your ${wanted.name} key` : `Next: enter your ${wanted.name} key`;
  if (!current) return 'You are ready';
  if (current === 1) return 'Next: check the key that was found';
  if (current === lastStep()) return 'Next: finish setup';
  const { title } = known.setup.steps[current - 1];
  return known.config.onboarding === 'keyfold' ? 'Next: try your key' : `Next: ${title}`;
}

const nameOf = (id) => known.providers.find((provider) => provider.id === id)?.name ?? id;

// An edit of the .env by hand counts at once, so the page looks again when somebody comes back to it.
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible' && !$('local').hidden) load();
});
load();
