const $ = (id) => document.getElementById(id);

function make(tag, text = '', children = []) {
  const element = document.createElement(tag);
  element.append(...words(text), ...children);
  return element;
}

/** The text, with what stands between backticks as code. */
const words = (text) => text.split('`').map((part, i) => (i % 2 ? make('code', part) : part));

/** What a `$ref` of the document stands for. */
const resolved = (root, part) => (part.$ref ? part.$ref.slice(2).split('/').reduce((at, name) => at[name], root) : part);

const KINDS = { integer: 'entero', number: 'número', string: 'texto', array: 'lista', object: 'objeto', boolean: 'sí o no', null: 'null' };

/** A schema in a line: its kind and its limits. */
function inWords(schema) {
  const { type, enum: values, const: value, minimum, maximum, minLength, maxLength, format, description, items } = schema;
  if (value !== undefined) return JSON.stringify(value);
  const parts = [values ? values.join(' · ') : [type ?? []].flat().map((one) => KINDS[one]).join(' o ')];
  if (items) parts[0] = `lista de: ${inWords(items)}`;
  if (format) parts.push(format);
  if (minimum !== undefined) parts.push(`desde ${minimum}`);
  if (maximum !== undefined) parts.push(`hasta ${maximum}`);
  if (minLength || maxLength) parts.push(`de ${minLength ?? 0} a ${maxLength} caracteres`);
  if (schema.default !== undefined) parts.push(`si falta, ${JSON.stringify(schema.default)}`);
  return parts.filter(Boolean).join(', ') + (description ? `. ${description}` : '');
}

const fields = (schema) => Object.entries(schema.properties ?? {}).map(([name, field]) => ({
  name: name + (schema.required?.includes(name) ? '' : '?'),
  text: inWords(field),
}));

function list(title, rows) {
  if (!rows.length) return [];
  return [make('h4', title), make('dl', '', rows.flatMap(({ name, text }) => [make('dt', '', [make('code', name)]), make('dd', text)]))];
}

function entry(method, path, what, body) {
  const element = $('entry').content.firstElementChild.cloneNode(true);
  element.querySelector('.method').textContent = method;
  element.querySelector('.path').textContent = path;
  element.querySelector('.what').append(...words(what));
  element.querySelector('.body').append(...body);
  return element;
}

/** The command that asks for it; with the example of its body. */
function curl(path, method, example) {
  const url = new URL(path.slice(1).replace('{id}', '1'), document.baseURI);
  const words = ['curl', `'${url}'`];
  if (!['get', 'post'].includes(method)) words.push(`-X ${method.toUpperCase()}`);
  if (example) words.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(example)}'`);
  return words.join(' ');
}

function operation(root, path, method, told) {
  const body = told.requestBody?.content['application/json'];
  const schema = body && resolved(root, body.schema);
  const parameters = (told.parameters ?? []).map((one) => resolved(root, one));
  const answers = Object.entries(told.responses).map(([status, one]) => ({ name: status, text: resolved(root, one).description }));
  return entry(method.toUpperCase(), path, told.summary, [
    ...(path === '/' || path === '/ws' ? [] : [make('pre', curl(path, method, body?.example))]),
    ...list('Parámetros', parameters.map((one) => ({ name: one.name, text: one.description ?? inWords(one.schema) }))),
    ...(schema ? list('Cuerpo (JSON)', fields(schema)) : []),
    ...list('Respuestas', answers),
  ]);
}

function message(root, name) {
  const told = root.components.messages[name];
  return entry('', name, told.summary, [
    make('pre', JSON.stringify(told.examples[0].payload, null, 2)),
    ...list('Campos', fields({ ...told.payload, properties: Object.fromEntries(
      Object.entries(told.payload.properties).map(([field, schema]) => [field, schema.$ref ? { type: 'object', description: 'El producto, entero.' } : schema]),
    ) })),
  ]);
}

const nameOf = ({ $ref }) => $ref.split('/').pop();

try {
  const [http, socket] = await Promise.all(['openapi.json', 'asyncapi.json'].map(async (name) => (await fetch(name)).json()));
  const { ws_told: told, ws_asked: asked } = socket.operations;
  $('version').textContent = http.info.version;
  $('httpText').replaceChildren(...words(http.info.description));
  $('operations').append(...Object.entries(http.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, one]) => operation(http, path, method, one))));
  $('socketText').append(...words(socket.info.description));
  const { query } = socket.components.channelBindings.socket.ws;
  $('socketQuery').append(entry('', '/ws?…', 'Reanudar, y escuchar solo una parte', list('Parámetros', fields({ ...query, required: Object.keys(query.properties) }))));
  $('fromService').append(...[...told.messages, ...asked.reply.messages].map((one) => message(socket, nameOf(one))));
  $('fromClient').append(...asked.messages.map((one) => message(socket, nameOf(one))));
} catch {
  $('httpText').textContent = 'La descripción no se ha podido cargar. Vuelve a cargar la página.';
}
