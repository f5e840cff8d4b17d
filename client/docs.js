import { $, element } from './notices.js';

// The descriptions of the API, for people to read.

globalThis.early = null; // no scanner reads the keys that theme.js collects

const load = async (name) => (await fetch(name)).json();
const nameOf = ({ $ref }) => $ref.split('/').at(-1);

/** The target of a `$ref`. */
const found = (api, node) => node.$ref?.slice(2).split('/').reduce((at, step) => at[step], api) ?? node;

/** A text of the description; text between backticks becomes code. */
const prose = (text = '') => text.split('`').map((part, n) => (n % 2 ? element('code', {}, part) : part));

/** A schema in one line: `{ success: true, data: Product[] }`. */
function shape(schema) {
  if (schema.$ref) return nameOf(schema);
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.oneOf) return schema.oneOf.map(shape).join(' | ');
  if (schema.allOf) return [...schema.allOf, { ...schema, allOf: null }].map(shape).join(' & ');
  if (schema.items) return `${shape(schema.items)}[]`;
  if (!schema.properties) return schema.format ?? [schema.type].flat().join(' | ');
  const mark = (name) => (schema.required?.includes(name) ? '' : '?');
  const inside = Object.entries(schema.properties).map(([name, field]) => `${name}${mark(name)}: ${shape(field)}`);
  return `{ ${inside.join(', ')} }`;
}

const LIMITS = ['minimum', 'maximum', 'maxLength'];
const limits = (schema) => LIMITS.filter((name) => name in schema).map((name) => `, ${name} ${schema[name]}`);

/** A name with a note, and its description with its type. */
function term(name, note, schema = {}, text = schema.description) {
  const type = element('small', {}, element('code', {}, shape(schema)), ...limits(schema));
  const title = [element('code', {}, name), element('small', {}, note)];
  return [element('dt', {}, ...title), element('dd', {}, ...prose(text), type)];
}

const fields = ({ properties = {}, required = [] }) => Object.entries(properties)
  .flatMap(([name, field]) => term(name, required.includes(name) ? '' : 'opcional', field));
const list = (title, terms) => (terms.length ? [element('h4', {}, title), element('dl', {}, ...terms)] : []);
const sample = (text) => element('pre', {}, text);

function fold(id, kind, name, summary, ...inside) {
  const badge = element('span', { className: 'badge' }, kind);
  const title = element('h3', {}, element('code', {}, name));
  const text = element('span', {}, ...prose(summary));
  return element('details', { className: 'panel', id }, element('summary', {}, badge, title, text), ...inside);
}

function curl(url, method, { example } = {}) {
  const sent = example ? ` -H 'Content-Type: application/json' -d '${JSON.stringify(example)}'` : '';
  return `curl -s -X ${method.toUpperCase()} ${url.replace('{id}', '13')}${sent}`;
}

const PLACES = { query: 'en la consulta', path: 'en la ruta', header: 'cabecera' };

function operation(api, base, path, method, { operationId, summary, parameters, requestBody, responses }) {
  const { 'application/json': json, ...files } = requestBody?.content ?? {};
  const asked = parameters.map((one) => found(api, one))
    .flatMap((one) => term(one.name, PLACES[one.in], one.schema, one.description));
  const answers = Object.entries(responses).flatMap(([status, one]) => {
    const { headers = {}, content, description } = found(api, one);
    return term(status, Object.keys(headers).join(', '), content?.['application/json']?.schema, description);
  });
  return fold(operationId, method, path, summary,
    ...list('Parámetros', asked),
    ...list('Cuerpo', json ? fields(found(api, json.schema)) : []),
    ...Object.entries(files).flatMap(([kind, { schema, example }]) => [
      ...list('O un archivo', term(kind, '', schema)),
      sample(example),
    ]),
    sample(curl(base + path, method, json)),
    ...list('Respuestas', answers));
}

function* operations(api) {
  const base = new URL(api.servers[0].url, document.baseURI).href.replace(/\/$/, '');
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, told] of Object.entries(methods)) yield operation(api, base, path, method, told);
  }
}

const schemaOf = ([name, schema]) => fold(name, '', name, '',
  ...(schema.properties ? list('Campos', fields(schema)) : [sample(shape(schema))]));
const messageOf = ([name, { summary, payload, examples: [{ payload: example }] }]) => fold(name, '', name, summary,
  sample(JSON.stringify(example, null, 2)),
  ...list('Campos', fields(payload)));

const loading = Promise.all([load('openapi.json'), load('asyncapi.json')]);
loading.catch(() => { $('problem').hidden = false; });
const [http, socket] = await loading;
$('version').textContent = http.info.version;
$('httpText').append(...prose(http.info.description));
$('http').append(...operations(http));
$('schemas').append(...Object.entries(http.components.schemas).map(schemaOf));
$('socketText').append(...prose(socket.info.description));
$('query').append(...fields(socket.components.channelBindings.socket.ws.query));
$('messages').append(...Object.entries(socket.components.messages).map(messageOf));
document.querySelector('main').ariaBusy = 'false';

const section = $(location.hash.slice(1)); // in the address
if (section) section.open = true;
section?.scrollIntoView();
