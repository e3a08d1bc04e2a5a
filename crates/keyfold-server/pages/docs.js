// The description of the API, from /openapi.json, for people. Everything is put in as text, never as markup.

const $ = (id) => document.getElementById(id);
const METHODS = ['get', 'put', 'post', 'delete', 'patch', 'head', 'options'];
const GROUPS = { keys: 'Keys', use: 'Use', onboarding: 'Onboarding', operations: 'Operations' };
const EXAMPLES = { provider: 'gemini', n: '1', prompt: 'Hello', query: 'rust web servers', stream: true };

/** An element with properties or attributes; children are text or elements. */
function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Text with its `code` marked. */
const prose = (text = '') => text.split('`').map((part, at) => (at % 2 ? h('code', {}, part) : part));

// --- Schemas ---

let api;

/** A schema with its reference followed. */
function resolve(schema = {}) {
  if (!schema.$ref) return schema;
  const target = schema.$ref.replace(/^#\//, '').split('/')
    .reduce((node, part) => node?.[part.replaceAll('~1', '/').replaceAll('~0', '~')], api);
  return { ...target, ...(schema.description ? { description: schema.description } : {}) };
}

const alternatives = (schema) => (schema.oneOf ?? schema.anyOf ?? []).filter((one) => one.type !== 'null');
const allowsNull = (schema) => [schema.type].flat().includes('null') || (schema.oneOf ?? schema.anyOf ?? []).some((one) => one.type === 'null');

/** What a value is, in a few words. */
function typeOf(schema = {}) {
  const words = plainType(schema);
  return allowsNull(schema) && words !== 'null' ? `${words} or null` : words;
}

function plainType(schema) {
  if (schema.$ref) {
    const target = resolve(schema);
    return target.properties || target.allOf ? 'object' : typeOf(target);
  }
  const choices = alternatives(schema);
  if (choices.length) return choices.map(typeOf).join(' or ');
  if (schema.allOf) return 'object';
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' or ');
  const types = [schema.type].flat().filter((type) => type && type !== 'null');
  return types.map((type) => {
    if (type === 'array') return `list of ${schema.items ? typeOf(schema.items).replace(/^object$/, 'objects') : 'any JSON'}`;
    if (type === 'object' && typeof schema.additionalProperties === 'object' && !schema.properties) return `object: name to ${typeOf(schema.additionalProperties)}`;
    return { password: 'string (secret)', 'date-time': 'string (time)' }[schema.format] ?? type;
  }).join(' or ') || 'any JSON';
}

/** The object that a schema describes: its fields and which of them must be there. */
function fieldsOf(schema) {
  const target = resolve(schema);
  const parts = [target, ...(target.allOf ?? []).map(fieldsOf)];
  return {
    properties: Object.assign({}, ...parts.map((part) => part.properties ?? {})),
    required: parts.flatMap((part) => part.required ?? []),
  };
}

/** The schemas inside that have fields of their own: through lists, maps and alternatives. */
function objectsIn(schema) {
  const target = resolve(schema);
  if (target.properties || target.allOf) return [target];
  const inner = [...alternatives(target), target.items, typeof target.additionalProperties === 'object' ? target.additionalProperties : null];
  return inner.filter(Boolean).flatMap(objectsIn);
}

function limits(schema) {
  const { minimum, maximum, default: usual } = resolve(schema);
  return [
    minimum !== undefined && maximum !== undefined ? `${minimum} to ${maximum}` : minimum !== undefined ? `${minimum} or more` : maximum !== undefined ? `at most ${maximum}` : '',
    usual !== undefined ? `${JSON.stringify(usual)} if left out` : '',
  ].filter(Boolean).map((text) => `, ${text}`).join('');
}

/** A list of fields; those that are objects open one level at a time, when asked. */
function fieldList(schema, isRequest) {
  const { properties, required } = fieldsOf(schema);
  const fields = Object.entries(properties);
  if (isRequest) fields.sort(([one], [other]) => required.includes(other) - required.includes(one));
  const items = fields.map(([name, field]) => {
    const must = required.includes(name);
    const say = isRequest ? (must ? ', required' : ', optional') : must || allowsNull(field) ? '' : ', may be missing';
    const line = [h('code', {}, name), h('span', { className: 'type' }, ` ${typeOf(field)}${limits(field)}${say}`)];
    const about = resolve(field).description;
    return h('li', {}, h('div', {}, line), about ? h('div', {}, prose(about)) : null, nested(field, isRequest, `Fields of ${name}`));
  });
  return items.length ? h('ul', { className: 'schema' }, items) : h('p', { className: 'muted' }, 'No fields of its own.');
}

function nested(schema, isRequest, title) {
  return objectsIn(schema).map((inner) => {
    const details = h('details', {}, h('summary', {}, title));
    details.addEventListener('toggle', () => details.append(fieldList(inner, isRequest)), { once: true });
    return details;
  });
}

/** A whole body: its kind, then its fields. */
function body(schema, isRequest) {
  const about = resolve(schema).description;
  const objects = objectsIn(schema);
  const target = resolve(schema);
  const isObject = target.properties || target.allOf || alternatives(target).length;
  return [
    about ? h('p', { className: 'muted' }, prose(about)) : null,
    isObject ? null : h('p', { className: 'type' }, typeOf(schema)),
    ...objects.map((inner) => fieldList(inner, isRequest)),
  ];
}

// --- An example for the command line ---

function example(schema, name = '') {
  const target = resolve(schema);
  const [choice] = alternatives(target);
  if (choice) return example(choice, name);
  if (EXAMPLES[name] !== undefined) return EXAMPLES[name];
  if (target.format === 'password') return 'YOUR_KEY';
  const { properties, required } = fieldsOf(target);
  if (Object.keys(properties).length) return Object.fromEntries(required.map((field) => [field, example(properties[field], field)]));
  const type = [target.type].flat().find((one) => one !== 'null');
  return { array: [], object: {}, integer: 1, number: 1, boolean: true }[type] ?? 'TEXT';
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(method, path, operation, auth) {
  const filled = path.replaceAll(/\{([^}]+)\}/g, (_, name) => encodeURIComponent(EXAMPLES[name] ?? name.toUpperCase()));
  const words = ['curl'];
  if (method !== 'get') words.push('-X', method.toUpperCase());
  words.push(quoted(location.origin + filled));
  if (auth) words.push('-H', `"Authorization: Bearer ${auth}"`);
  const schema = operation.requestBody?.content?.['application/json']?.schema;
  if (schema) words.push('-H', "'Content-Type: application/json'", '-d', quoted(JSON.stringify(example(schema))));
  return { line: words.join(' '), isSecret: words.at(-1).includes('YOUR_KEY') };
}

async function copy(code, button, told) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    told.textContent = 'Copied.';
  } catch {
    getSelection().selectAllChildren(code);
    told.textContent = 'Selected: copy it with your keyboard.';
  }
}

// --- One operation ---

function parameters(list = []) {
  if (!list.length) return [];
  const items = list.map((one) => h('li', {},
    h('div', {}, h('code', {}, one.name), h('span', { className: 'type' }, ` ${one.schema ? typeOf(one.schema) : 'string'}, in the ${one.in}${one.required ? ', required' : ''}`)),
    one.description ? h('div', {}, prose(one.description)) : null));
  return [h('h3', {}, 'Parameters'), h('ul', { className: 'schema' }, items)];
}

function request(operation) {
  const content = Object.entries(operation.requestBody?.content ?? {});
  return content.flatMap(([type, { schema }]) => [
    h('h3', {}, 'Request body ', h('span', { className: 'type' }, `(${type}${operation.requestBody.required ? '' : ', may be left out'})`)),
    ...body(schema, true),
  ]);
}

function responses(operation) {
  const items = Object.entries(operation.responses ?? {}).map(([status, one]) => {
    const { description, content = {} } = resolve(one);
    const bodies = Object.entries(content).map(([type, { schema }]) => {
      const details = h('details', {}, h('summary', {}, `What is in it (${type})`));
      details.addEventListener('toggle', () => details.append(...body(schema, false).filter(Boolean)), { once: true });
      return details;
    });
    return h('li', { className: 'response' }, h('strong', {}, status), ' ', description ? prose(description) : bodies.length ? 'done' : '', bodies);
  });
  return [h('h3', {}, 'Answers'), h('ul', {}, items)];
}

function operationOf(method, path, operation, auth) {
  const details = h('details', { className: 'operation', id: `${method}${path.replaceAll(/[^\w]+/g, '-').replace(/-$/, '')}` },
    h('summary', {}, h('span', { className: `method ${method}` }, method.toUpperCase()), h('span', { className: 'path' }, path),
      operation.summary ? h('span', { className: 'what' }, prose(operation.summary)) : null));
  details.dataset.text = `${method} ${path} ${operation.summary ?? ''} ${operation.description ?? ''} ${JSON.stringify(operation.requestBody ?? '')}`.toLowerCase();
  const fill = () => {
    const { line, isSecret } = curl(method, path, operation, auth);
    const code = h('code', {}, line);
    const told = h('span', { className: 'muted', role: 'status' });
    const button = h('button', { type: 'button', className: 'quiet', 'aria-label': `Copy the curl line of ${method.toUpperCase()} ${path}` }, 'Copy');
    button.onclick = () => copy(code, button, told);
    details.append(h('div', {},
      operation.description ? h('p', {}, prose(operation.description)) : null,
      operation.deprecated ? h('p', { className: 'note warn' }, 'Deprecated.') : null,
      parameters(operation.parameters), request(operation), responses(operation),
      h('h3', {}, 'On the command line'), h('pre', { className: 'curl' }, code),
      isSecret ? h('p', { className: 'hint' }, 'Your shell remembers what you type, a key too. To avoid that, put the body into a file and write -d @file.') : null,
      h('div', { className: 'row' }, button, told)));
  };
  details.addEventListener('toggle', fill, { once: true });
  return details;
}

// --- The page ---

async function load() {
  try {
    const [description, config] = await Promise.all([read('/openapi.json'), read('/api/config').catch(() => null)]);
    api = description;
    show({ none: '', token: '$KEYFOLD_LOCAL_TOKEN' }[config?.auth?.kind ?? 'none'] ?? '$TOKEN');
    $('problem').replaceChildren();
  } catch (error) {
    const again = h('button', { type: 'button', className: 'quiet', onclick: load }, 'Try again');
    $('problem').replaceChildren(h('div', { className: 'note bad' }, h('p', {}, error.message), h('div', { className: 'row' }, again)));
  }
}

async function read(path) {
  const response = await fetch(path).catch(() => {
    throw new Error('Keyfold cannot be reached. Check that it is running (keyfold serve), then try again.');
  });
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  throw new Error(body?.detail ?? `Keyfold answered ${path} with status ${response.status} and nothing that can be read. Try again.`);
}

function show(auth) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths ?? {})) {
    for (const method of METHODS.filter((one) => methods[one])) {
      const tag = methods[method].tags?.[0] ?? 'other';
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationOf(method, path, methods[method], auth));
    }
  }
  const order = [...new Set([...Object.keys(GROUPS), ...groups.keys()])].filter((tag) => groups.has(tag));
  $('operations').replaceChildren(...order.map((tag) => h('section', { className: 'group', 'aria-labelledby': `tag-${tag}` },
    h('h2', { id: `tag-${tag}` }, GROUPS[tag] ?? tag), groups.get(tag))));
  $('about').replaceChildren(...prose(api.info?.description ?? ''));
  $('version').textContent = `version ${api.info?.version ?? 'unknown'}, OpenAPI ${api.openapi}`;
  $('content').hidden = false;
  filter();
  openTarget();
}

const operations = () => [...document.querySelectorAll('.operation')];

function filter() {
  const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const one of operations()) one.hidden = !words.every((word) => one.dataset.text.includes(word));
  for (const group of document.querySelectorAll('.group')) group.hidden = !group.querySelector('.operation:not([hidden])');
  const count = operations().filter((one) => !one.hidden).length;
  $('found').textContent = count === 1 ? 'One operation.' : count ? `${count} operations.` : 'No operation has all these words.';
}

/** Opens the operation that the address names, such as /docs#put-api-keys-provider. */
function openTarget() {
  const target = operations().find((one) => `#${one.id}` === location.hash);
  if (!target) return;
  target.open = true;
  target.scrollIntoView();
}

$('filter').addEventListener('input', filter);
$('open-all').addEventListener('click', () => operations().forEach((one) => { one.open = !one.hidden; }));
$('close-all').addEventListener('click', () => operations().forEach((one) => { one.open = false; }));
addEventListener('hashchange', openTarget);
load();
