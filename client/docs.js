const $ = (id) => document.getElementById(id);

function el(tag, props, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children.flat().filter((child) => child !== ''));
  return node;
}

/** A text of the description; text between backticks becomes code. */
const prose = (text = '') => text.split('`').map((part, n) => (n % 2 ? el('code', {}, part) : part));
const load = async (name) => (await fetch(name)).json();
const nameOf = (ref) => ref.split('/').at(-1);

/** The target of a `$ref`. */
function found(root, node) {
  return node.$ref ? node.$ref.slice(2).split('/').reduce((at, step) => at[step], root) : node;
}

/** A schema in one line: `{ success: true, data: Product[] }`. */
function shape(schema) {
  if (schema.$ref) return nameOf(schema.$ref);
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.oneOf) return schema.oneOf.map(shape).join(' | ');
  const own = schema.properties
    && `{ ${Object.entries(schema.properties).map(([name, field]) => `${name}${schema.required?.includes(name) ? '' : '?'}: ${shape(field)}`).join(', ')} }`;
  if (schema.allOf) return [...schema.allOf.map(shape), own].join(' & ');
  if (own) return own;
  if (schema.type === 'array') return `${shape(schema.items)}[]`;
  return schema.format ?? [schema.type].flat().join(' | ');
}

const number = (value) => value.toLocaleString('es');

function limits({ minimum, maximum, maxLength, default: usual, not }) {
  return [
    minimum !== undefined && (maximum <= Number.MAX_SAFE_INTEGER ? `de ${number(minimum)} a ${number(maximum)}` : `desde ${minimum}`),
    not && `no ${not.const}`,
    maxLength && `hasta ${number(maxLength)} caracteres`,
    usual !== undefined && usual !== '' && `por omisión ${usual}`,
  ].filter(Boolean).join(', ');
}

/** One row of a list: a name, its place or whether it is required, its type, and its description. */
function term(name, note, schema, text) {
  const kind = schema ? [el('code', {}, shape(schema)), limits(schema) && `, ${limits(schema)}`] : '';
  return el('div', {},
    el('dt', {}, el('code', {}, name), note ? el('small', {}, note) : ''),
    el('dd', {}, prose(text), kind && el('span', { className: 'shape' }, kind)));
}

const fields = ({ properties, required = [] }) => Object.entries(properties).map(([name, field]) => term(
  name, required.includes(name) ? '' : 'opcional', field, field.description));
const terms = (title, rows) => (rows.length ? [el('h5', {}, title), el('dl', { className: 'terms' }, rows)] : []);

function fold(id, kind, badge, name, summary, inside) {
  return el('details', { className: 'panel', id },
    el('summary', {}, badge ? el('span', { className: `badge ${kind}` }, badge) : '', el('h4', {}, el('code', {}, name)), el('span', {}, prose(summary))),
    el('div', { className: 'inside' }, inside));
}

function curl(base, method, path, body) {
  const url = base + path.replace('{id}', '13');
  const verb = method === 'get' || (method === 'post' && body) ? '' : ` -X ${method.toUpperCase()}`;
  const sent = body ? ` -H 'Content-Type: application/json' -d '${JSON.stringify(body)}'` : '';
  return `curl -s ${url}${verb}${sent}`;
}

const ERROR = '#/components/schemas/Error'; // shown once, because most operations have it
const PLACES = { query: 'en la consulta', path: 'en la ruta', header: 'cabecera' };

function operation(api, base, path, method, told) {
  const parameters = told.parameters.map((parameter) => found(api, parameter));
  const content = told.requestBody?.content['application/json'];
  const answers = Object.entries(told.responses).map(([status, ref]) => {
    const { headers, content: { 'application/json': { schema } = {} } = {}, description } = found(api, ref);
    return term(status, Object.keys(headers ?? {}).join(', '), status < 400 || schema?.$ref !== ERROR ? schema : null, description);
  });
  return fold(told.operationId, method, method.toUpperCase(), path, told.summary, [
    terms('Parámetros', parameters.map((one) => term(
      one.name, PLACES[one.in], one.schema, one.description ?? one.schema.description))),
    content ? terms('Cuerpo', fields(found(api, content.schema))) : [],
    Object.entries(told.requestBody?.content ?? {}).filter(([kind]) => kind !== 'application/json').flatMap(([kind, { schema, example }]) => [
      terms('O un archivo', [term(kind, '', schema, schema.description)]), el('pre', {}, example)]).flat(),
    told.responses[101] && !told.responses[200] ? [] : [el('h5', {}, 'Ejemplo'), el('pre', {}, curl(base, method, path, content?.example))],
    terms('Respuestas', answers),
  ].flat());
}

function showHttp(api) {
  const base = new URL(api.servers[0].url, document.baseURI).href.replace(/\/$/, '');
  $('version').textContent = api.info.version;
  $('httpText').append(...prose(api.info.description));
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [method, told] of Object.entries(operations)) $('http').append(operation(api, base, path, method, told));
  }
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    $('schemas').append(fold(name, '', '', name, '', [
      schema.properties ? el('dl', { className: 'terms' }, fields(schema)) : [],
      schema.properties ? [] : el('p', {}, el('code', {}, shape(schema))),
    ].flat()));
  }
}

function showSocket(api) {
  $('socketText').append(...prose(api.info.description.replaceAll(/\n+- /g, '\n• ')));
  $('query').append(...fields(api.components.channelBindings.socket.ws.query));
  const asked = Object.values(api.operations).filter(({ action }) => action === 'receive')
    .flatMap(({ messages }) => messages.map(({ $ref }) => nameOf($ref)));
  for (const [name, { summary, payload, examples }] of Object.entries(api.components.messages)) {
    const [kind, badge] = asked.includes(name) ? ['out', 'se manda'] : ['', 'llega'];
    $('messages').append(fold(name, kind, badge, name, summary, [
      el('h5', {}, 'Ejemplo'), el('pre', {}, JSON.stringify(examples[0].payload, null, 2)),
      terms('Campos', fields(payload)),
    ].flat()));
  }
}

/** Opens the section in the address. */
function reveal() {
  const target = location.hash && $(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

try {
  const [http, socket] = await Promise.all([load('openapi.json'), load('asyncapi.json')]);
  showHttp(http);
  showSocket(socket);
  reveal();
  addEventListener('hashchange', reveal);
} catch (error) {
  $('problem').hidden = false;
  throw error;
} finally {
  document.querySelector('main').ariaBusy = 'false';
}
