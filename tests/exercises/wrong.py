"""Wrong solutions, as people hand them in who misread, who take a short cut, or who forget the awkward case."""

from collections.abc import Mapping
from typing import NamedTuple


class Wrong(NamedTuple):
    """A mistake, part of the line in which the check refuses it, and the texts of a right solution that it replaces: of `patch`,
    or of the exercise's own."""

    number: str
    mistake: str
    said: str
    changes: Mapping[str, str]
    patch: str = ""


WRONG = [
    Wrong(
        "1.1",
        "the answer to the key is not looked at",
        "que saludo.py no imprimiera la trama",
        {'headers.get("sec-websocket-accept") != accept': '"sec-websocket-accept" not in headers'},
    ),
    Wrong(
        "1.1",
        "always the key of the example",
        "una clave al azar",
        {"base64.b64encode(os.urandom(16)).decode()": '"dGhlIHNhbXBsZSBub25jZQ=="'},
    ),
    Wrong(
        "1.1",
        "one key of one's own",
        "una clave al azar",
        {"base64.b64encode(os.urandom(16)).decode()": '"MDEyMzQ1Njc4OWFiY2RlZg=="'},
    ),
    Wrong(
        "1.1",
        "headers begin with capital letters",
        "en minúsculas",
        {"{name.lower(): value": "{name: value", 'get("sec-websocket-accept")': 'get("Sec-WebSocket-Accept")'},
    ),
    Wrong("1.1", "a frame is at most 125 bytes long", "UnicodeDecodeError", {"size == 126": "size == 1260"}),
    Wrong("1.2", "lines stay in the buffer", "¿lleva flush=True?", {", flush=True": ""}),
    Wrong(
        "1.2",
        "nothing calls its function",
        "no llegó nada: terminó sin un error",
        {"asyncio.run(main(sys.argv[1]))": "main"},
    ),
    Wrong(
        "1.2",
        "a line of any length",
        "una de más de 64 KiB",
        {"asyncio.run(": "print('x' * 100_000)\n    asyncio.run("},
    ),
    Wrong("1.2", "an empty line first", "más que una línea vacía", {"asyncio.run(": "print()\n    asyncio.run("}),
    Wrong(
        "1.2",
        "errors are told and passed over",
        "en cinco segundos; en la salida de errores, «nada»",
        {
            "asyncio.run(": 'print("nada", file=sys.stderr, flush=True)\n    time.sleep(60)\n    (',
            "import sys\n": "import sys\nimport time\n",
        },
    ),
    Wrong("1.2", "the price as JSON has it", "$64.90", {"{data['precio']:.2f}": "{data['precio']}"}),
    Wrong("1.2", "a deletion has no name", "KeyError: 'nombre'", {'== "PRODUCT_DELETED"': '== "DELETED"'}),
    Wrong(
        "1.2",
        "what it does not know is printed",
        "tras un mensaje de un tipo que nadie conoce",
        {'return ""': 'return str(message["message"])'},
    ),
    Wrong(
        "2.1",
        "polling in the service",
        "sin consultar la base de datos",
        {
            "        with suppress(TimeoutError):\n            async with asyncio.timeout_at(deadline):\n"
            "                await moved.wait()\n": "        await asyncio.sleep(0.05)\n"
        },
    ),
    Wrong(
        "2.1",
        "it always waits to the end",
        "en cuanto llega el evento",
        {
            "            async with asyncio.timeout_at(deadline):\n"
            "                await moved.wait()\n": "            await asyncio.sleep(query.wait)\n"
        },
    ),
    Wrong(
        "2.1",
        "the look comes before the note of what to wait for",
        "entre la lectura del registro y la espera",
        {"                await moved.wait()\n": "                await log.moved.wait()\n"},
    ),
    Wrong(
        "2.1",
        "it waits once",
        "aunque el lector mire y no haya nada",
        {
            "await moved.wait()\n": "await moved.wait()\n        query.wait, deadline = 0, 0\n",
        },
    ),
    Wrong(
        "2.1",
        "each look begins the wait anew",
        "también si el lector mira mientras tanto",
        {
            "or asyncio.get_running_loop().time() >= deadline": "or not query.wait",
            "        with suppress(TimeoutError):\n            async with asyncio.timeout_at(deadline):\n                await moved.wait()\n": "        try:\n            async with asyncio.timeout(query.wait):\n                await moved.wait()\n        except TimeoutError:\n            break\n",
        },
    ),
    Wrong(
        "2.1",
        "a wait has decimals",
        "400 para wait=1.5",
        {"wait: Annotated[int, Field(ge=0, le=30)]": "wait: Annotated[float, Field(ge=0, le=30)]"},
    ),
    Wrong("2.1", "no limit to the wait", "400 para wait=31", {"wait: Annotated[int, Field(ge=0, le=30)]": "wait: int"}),
    Wrong(
        "2.2",
        "one request is counted ten times",
        "10 peticiones de la lista",
        {
            'sum(count(ask(url, "/api/productos", CLOSE)) for _ in range(10))': 'count(ask(url, "/api/productos", CLOSE)) * 10'
        },
    ),
    Wrong(
        "2.2",
        "the socket is closed before",
        "sockets abiertos en la última petición",
        {
            "UPGRADE)\n": "UPGRADE)\n    pushed = len(listening.recv(65536))\n    listening.close()\n",
            "    listening.shutdown(socket.SHUT_WR)  # we say no more; what was sent to us can still be read\n": "",
            "{count(listening)}": "{pushed}",
        },
    ),
    Wrong(
        "2.2",
        "the answer comes at once",
        "todo lo que llega hasta el final",
        {'return sum(map(len, iter(lambda: sock.recv(65536), b"")))': "return len(sock.recv(65536))"},
    ),
    Wrong(
        "2.2",
        "the connection stays open",
        "¿se cierra cada conexión?",
        {'"Connection: close"': '"Connection: keep-alive"'},
    ),
    Wrong(
        "2.2",
        "without the headers",
        "bytes de sondeo, con las cabeceras",
        {
            'return sum(map(len, iter(lambda: sock.recv(65536), b"")))': "return len("
            'b"".join(iter(lambda: sock.recv(65536), b"")).partition(b"\\r\\n\\r\\n")[2])'
        },
    ),
    Wrong(
        "2.2",
        "a socket without its handshake",
        "bytes por el socket, con las cabeceras",
        {
            '    listening = ask(url, "/ws", UPGRADE)\n': '    listening = ask(url, "/ws", UPGRADE)\n    listening.recv(65536)\n'
        },
    ),
    Wrong(
        "3.1",
        "only a new table has the column",
        "pusiera al día, dos veces seguidas",
        {"attname = 'sku') THEN": "attname = 'sku') AND NOT EXISTS (SELECT FROM productos) THEN"},
    ),
    Wrong(
        "3.1",
        "the second start adds it again",
        "already exists",
        {"NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'productos'::regclass AND attname = 'sku')": "true"},
    ),
    Wrong(
        "3.1",
        "the event does not tell the former value",
        "como antes de un cambio de sku",
        {
            "OLD.stock END,\n            CASE WHEN NEW.sku IS DISTINCT FROM OLD.sku THEN "
            "'\"sku\":' || coalesce(to_json(OLD.sku)::text, 'null') END\n": "OLD.stock END\n"
        },
    ),
    Wrong(
        "3.1",
        "nothing differs from null",
        "de «TEC-02» a null",
        {"NEW.sku IS DISTINCT FROM OLD.sku": "NEW.sku <> OLD.sku"},
    ),
    Wrong(
        "3.1",
        "null takes the rest with it",
        "de null a «TEC-03»",
        {"coalesce(to_json(OLD.sku)::text, 'null')": "to_json(OLD.sku)"},
    ),
    Wrong(
        "3.1",
        "it is validated and not stored",
        "como sku en la respuesta del POST",
        {"precio, stock, sku)": "precio, stock)", "%(stock)s, %(sku)s)": "%(stock)s)"},
    ),
    Wrong(
        "3.2",
        "fewer than, and not at most",
        "stock_max=5",
        {
            'stock <= %(stock_max)s\n              AND {_searched("p.': 'stock < %(stock_max)s\n              AND {_searched("p.'
        },
    ),
    Wrong(
        "3.2", "the past is not filtered", "stock_max=5&at=2", {" AND (j ->> 'stock')::integer <= %(stock_max)s": ""}
    ),
    Wrong(
        "3.2",
        "texts are compared",
        "uno con 9 unidades y otro con 10",
        {"(j ->> 'stock')::integer <= %(stock_max)s": "(j ->> 'stock') <= %(stock_max)s::text"},
    ),
    Wrong("3.2", "any integer will do", "400 para stock_max=-1", {"stock_max: Stock = ": "stock_max: int = "}),
    Wrong(
        "4.1",
        "nobody awaits the answer",
        "un await donde falta; llegó un RuntimeWarning: coroutine 'summarize_products'",
        {"summary = await": "repository.summarize_products(request.app[DATABASE])\n    summary = await"},
    ),
    Wrong(
        "4.1",
        "a float",
        "21474836469978525163.53",
        {"coalesce(sum(precio * stock), 0) AS": "coalesce(sum(precio * stock), 0)::float AS"},
    ),
    Wrong(
        "4.1",
        "a statement for each number",
        "una sola sentencia",
        {
            '    rows = await db.fetch(\n        """\n': '    await db.fetch("SELECT count(*) FROM productos", lane=Lane.QUICK)\n    rows = await db.fetch(\n        """\n'
        },
    ),
    Wrong(
        "4.1",
        "an empty table has no sum",
        "de un inventario vacío",
        {"coalesce(sum(stock), 0)": "sum(stock)", "coalesce(sum(precio * stock), 0)": "sum(precio * stock)"},
    ),
    Wrong(
        "4.1",
        "integers overflow",
        "con 4294967294 unidades",
        {"coalesce(sum(stock), 0)": "coalesce(sum(stock), 0)::integer"},
    ),
    Wrong(
        "4.2",
        "who leaves is counted too",
        "al irse la segunda",
        {
            "        self.sockets.discard(stream)\n        self._tell_number()\n": "        self._tell_number()\n        self.sockets.discard(stream)\n"
        },
    ),
    Wrong(
        "4.2",
        "nobody is told of who leaves",
        "al irse la segunda",
        {
            "        self.sockets.discard(stream)\n        self._tell_number()\n": "        self.sockets.discard(stream)\n"
        },
    ),
    Wrong(
        "4.2",
        "who comes is not told",
        "para el primero, tras su bienvenida",
        {"            stream.send(number)\n": "            stream is list(self.sockets)[-1] or stream.send(number)\n"},
    ),
    Wrong(
        "5.1",
        "one's own changes count",
        "tras un cambio propio",
        {
            "    unseen += entries.length;\n    drawTitle();\n": "",
            "  others.waiting.push(entry);\n": "  others.waiting.push(entry);\n  unseen += 1;\n  drawTitle();\n",
        },
    ),
    Wrong(
        "5.1",
        "two changes at once are one",
        "los dos de golpe",
        {"unseen += entries.length": "unseen += entries.length && 1"},
    ),
    Wrong("5.1", "what is no JavaScript", "sin errores de JavaScript", {"unseen += entries.length;": "unseen += ;"}),
    Wrong("5.1", "a key is not heard", "tras una tecla", {"['pointerdown', 'keydown']": "['pointerdown']"}),
    Wrong(
        "5.2",
        "when it was created",
        "después de un cambio de otro",
        {"time.dateTime = row.updated_at": "time.dateTime = row.created_at"},
    ),
    Wrong(
        "5.2",
        "the time of London",
        "la hora local",
        {"clock.format(new Date(row.updated_at))": "row.updated_at.slice(11, 19)"},
    ),
    Wrong(
        "5.2",
        "written once",
        "después de un cambio de otro",
        {"  time.dateTime =": "  if (time.dateTime) return;\n  time.dateTime ="},
    ),
    Wrong(
        "6.1",
        "first the answer, then the event",
        "un evento anterior a la respuesta",
        {
            "return time.perf_counter()": "return 0.0",
            "await hearing - began": "(await hearing or time.perf_counter()) - began",
        },
    ),
    Wrong(
        "6.1",
        "first the event, then the answer",
        "sin esperar antes al evento",
        {"        answered = time.perf_counter()\n": "        await hearing\n        answered = time.perf_counter()\n"},
    ),
    Wrong(
        "6.1",
        "seconds",
        "milisegundos, y no segundos",
        {
            "(answered - began) * 1000": "(answered - began)",
            "(await hearing - began) * 1000": "(await hearing - began)",
        },
    ),
    Wrong(
        "6.1",
        "the next message is one's own",
        "la hora del evento propio",
        {
            '            while (await ws.receive_json(timeout=10)).get("data", {}).get("nombre") != nombre:\n                pass\n': "            await ws.receive_json(timeout=10)\n"
        },
    ),
    Wrong(
        "6.1",
        "the product stays",
        "que latencia.py creara un producto y lo borrara",
        {"        await session.delete(f\"{url}/api/productos/{product['id']}\")\n": ""},
    ),
    Wrong(
        "6.2",
        "the mark stays on the connection",
        "sin request_id",
        {"%(request_id)s, true)": "%(request_id)s, false)"},
        "6.2.otra",
    ),
    Wrong(
        "6.2",
        "the mark is the end of nothing",
        "400 para X-Request-Id: xxx",
        {'re.fullmatch(r"[A-Za-z0-9._-]{0,64}"': 're.match(r"[A-Za-z0-9._-]{0,64}"'},
    ),
    Wrong("6.2", "letters with an accent", "400 para X-Request-Id: ñ", {"[A-Za-z0-9._-]{0,64}": "[\\w.-]{0,64}"}),
    Wrong(
        "7.1",
        "a new product too",
        "al crear un producto con 3 unidades",
        {
            "IF TG_OP = 'UPDATE' AND NEW.stock < 5 AND OLD.stock >= 5": "IF NEW.stock < 5 AND coalesce(OLD.stock, 5) >= 5"
        },
    ),
    Wrong(
        "7.1",
        "told again with each sale",
        "como stocks de los STOCK_LOW",
        {"NEW.stock < 5 AND OLD.stock >= 5": "NEW.stock < 5 AND NEW.stock <> OLD.stock"},
    ),
    Wrong(
        "7.1",
        "five is few",
        "al pasar de 5 a 4",
        {"NEW.stock < 5 AND OLD.stock >= 5": "NEW.stock <= 5 AND OLD.stock > 5"},
    ),
    Wrong(
        "7.1", "the past is read from the new event", "at=3", {"id <= %(at)s AND tipo <> 'STOCK_LOW'": "id <= %(at)s"}
    ),
    Wrong(
        "7.2",
        "a deletion changes everything",
        "de un PRODUCT_DELETED",
        {
            "CASE TG_OP WHEN 'UPDATE' THEN (\n": "(\n",
            "WHERE o.value <> n.value AND key <> 'updated_at'\n            ) END": "WHERE o.value <> n.value AND key <> 'updated_at' OR TG_OP = 'DELETE'\n            )",
            "jsonb_each(to_jsonb(OLD)) AS o JOIN": "jsonb_each(to_jsonb(OLD)) AS o LEFT JOIN",
        },
    ),
    Wrong(
        "7.2",
        "null equals anything",
        '["descripcion"] como cambios',
        {
            "jsonb_each(to_jsonb(OLD))": "jsonb_each_text(to_jsonb(OLD))",
            "jsonb_each(to_jsonb(NEW))": "jsonb_each_text(to_jsonb(NEW))",
        },
    ),
    Wrong("7.2", "the version is a change", '["precio"] como cambios', {" AND key <> 'updated_at'": ""}),
    Wrong("8.1", "a socket without a position", "entre la lista y el socket", {", params=position)": ")"}),
    Wrong(
        "8.1",
        "floats",
        "sin perder un céntimo",
        {
            "parse_float=Decimal": "parse_float=float",
            '-> Decimal:\n    return Decimal(product["precio"])': '-> float:\n    return product["precio"]',
        },
    ),
    Wrong(
        "8.1",
        "the list is asked for at each event",
        "1 petición de la lista",
        {
            '                if event["type"] ==': '                await (await session.get(f"{url}/api/productos")).read()\n                if event["type"] =='
        },
    ),
    Wrong("8.1", "a deleted product has a price", "KeyError", {'== "PRODUCT_DELETED"': '== "DELETED"'}),
    Wrong("8.1", "a line for each event", "con 6 a 0.10 y 2 a 1000", {"if sum(values.values()) != value:": "if True:"}),
    Wrong("8.2", "no version is named", "si de 5 se venden dos muy seguidas", {", headers=version": ""}),
    Wrong("8.2", "five is few", "con 5 no se repone", {">= FEW": "> FEW"}),
    Wrong(
        "8.2",
        "units are added, whoever was first",
        "si de 5 se venden dos muy seguidas",
        {
            "f\"{url}/api/productos/{product['id']}\"": "f\"{url}/api/productos/{product['id']}/stock\"",
            'session.patch(path, json={"stock": more}, headers=version)': 'session.post(path, json={"delta": MORE})',
        },
    ),
    Wrong(
        "9.1",
        "the button stays",
        "que «Desconectar» desapareciera",
        {"  $('disconnect').hidden = state === 'detenido';\n": ""},
    ),
    Wrong(
        "9.1",
        "the button does not come back",
        "que «Desconectar» volviera a verse",
        {"$('disconnect').hidden = state": "$('disconnect').hidden ||= state"},
    ),
    Wrong(
        "9.1",
        "only the words say so",
        "que la página parada no volviera sola",
        {
            "() => inventory.stop()": "() => { $('connectionStatus').textContent = 'Detenido'; $('disconnect').hidden = true; }"
        },
    ),
    Wrong(
        "9.2",
        "always the same wait",
        "el tope se dobla",
        {"ceiling = min(ceiling * 2, MOST)": "ceiling = min(ceiling, MOST)"},
    ),
    Wrong(
        "9.2", "nothing is random", "tiempos al azar", {"random.uniform(0, ceiling)": "ceiling", "import random\n": ""}
    ),
    Wrong(
        "9.2",
        "the ceiling never comes down",
        "una espera de 1 s o menos",
        {"                            ceiling = FIRST\n": ""},
    ),
    Wrong("9.2", "the position is not told", "evento 2", {", params=position": ""}),
    Wrong(
        "9.3",
        "no id before the first event",
        "una línea id: al conectar",
        {'f"{text}id: {epoch}:{position}\\n\\n".encode()': "text.encode()"},
    ),
    Wrong(
        "9.3",
        "any id is a position",
        "con Last-Event-ID: abc",
        {' if re.fullmatch("[0-9]{1,19}", number) else -1': ""},
    ),
    Wrong(
        "9.3",
        "a position of any epoch",
        "de antes de restaurar",
        {"log.check(position, epoch)": "log.check(position, None)"},
    ),
    Wrong(
        "9.3", "the stream never ends", "terminara cuando el servicio se apaga", {"while not log.ended:": "while True:"}
    ),
    Wrong(
        "10.1",
        "only POST changes something",
        "de un PATCH con la clave «lee»",
        {"request.method in SAFE_METHODS and": 'request.method != "POST" and'},
    ),
    Wrong(
        "10.1",
        "a browser cannot read",
        "con la clave «lee» como subprotocolo",
        {
            "await may_read(request))": 'request.headers.get("Authorization") == f"Bearer {read_token}")',
            "may_write, may_read = bearer(token, open_reads=open_reads), bearer(read_token)": "may_write = bearer(token, open_reads=open_reads)",
        },
    ),
    Wrong(
        "10.1",
        "no token is an empty one",
        "the token is empty",
        {
            "if read_token:": "if read_token is not None:",
            "bearer(args.token, args.read_token,": 'bearer(args.token, args.read_token or "",',
        },
    ),
    Wrong(
        "10.1",
        "one token is none",
        "401 de un POST sin clave",
        {"open_reads=args.open_reads) if args.token else": "open_reads=args.open_reads) if args.read_token else"},
    ),
    Wrong("10.2", "nothing expires", "que caducó hace dos segundos", {" and time.time() < int(expiry)": ""}),
    Wrong(
        "10.2",
        "the number before the signature",
        "que no es un pase",
        {
            "if hmac.compare_digest(signature, right) and time.time() < int(expiry):": "if time.time() < int(expiry) and hmac.compare_digest(signature, right):"
        },
    ),
    Wrong(
        "10.2",
        "the secret is signed with the time",
        "200 con un pase que aún vale",
        {"hmac.new(secret.encode(), expiry, ": "hmac.new(expiry, secret.encode(), "},
    ),
    Wrong(
        "10.2",
        "only the header",
        "«abierto» como socket con un pase que aún vale como subprotocolo",
        {
            'for name in offered if name.strip().startswith("bearer.")]': 'for name in offered if name.strip() == "bearer"]'
        },
    ),
    Wrong("11.1", "capital letters hear nothing", "TECLADO", {"any(word.lower() in": "any(word in"}),
    Wrong("11.1", "a deletion does not pass", "6 como id del evento siguiente", {"not event.name or ": ""}),
    Wrong(
        "11.1",
        "whole words",
        "3 como id del evento siguiente",
        {
            '"|".join(map(re.escape, self.palabras or []))': 'r"\\b(" + "|".join(map(re.escape, self.palabras or [])) + r")\\b"'
        },
        "11.1.otra",
    ),
    Wrong(
        "11.1",
        "a word anywhere in the message",
        "3 como id del evento siguiente",
        {'json.loads(text)["data"]["nombre"]': "text"},
        "11.1.otra",
    ),
    Wrong(
        "11.2",
        "who leaves the last hears all",
        "[] como productos",
        {'{"productos": productos}': '{"productos": productos or None}'},
    ),
    Wrong("11.2", "JOIN is another SUBSCRIBE", "[1, 2, 3] como productos", {"before | named if": "named if"}),
    Wrong(
        "11.2",
        "LEAVE takes anything",
        "como type de la respuesta a {'type': 'LEAVE'",
        {
            "            if named is None:\n": '            if named is None and kind == "JOIN":\n',
            "before - named\n": "before - (named or before)\n",
        },
    ),
    Wrong(
        "11.2",
        "who hears all cannot leave",
        "[] como productos",
        {
            '{"productos": productos}': '{"productos": productos} if kind == "JOIN" or stream.subscription.productos is not None else {}'
        },
    ),
    Wrong("12.1", "short ones too", "si ocupa menos de 1 KiB", {" and len(response.body) > COMPRESS_FROM": ""}),
    Wrong("12.1", "many events are long", "un solo evento", {"len(response.body) > COMPRESS_FROM": "len(events) > 1"}),
    Wrong("12.1", "whoever asks", "a quien no admite gzip", {" and wants_gzip(request)": ""}),
    Wrong(
        "12.1",
        "aiohttp chooses",
        "«gzip» como Content-Encoding",
        {"enable_compression(web.ContentCoding.gzip)": "enable_compression()"},
    ),
    Wrong(
        "12.1",
        "the word is in the header",
        "gzip;q=0",
        {"and wants_gzip(request)": 'and "gzip" in request.headers.get("Accept-Encoding", "")'},
    ),
    Wrong(
        "12.2",
        "JSON is written anew",
        "sin escribir otra vez el JSON",
        {
            "    messages = text.replace(b'},{\"type\":', b'}\\n{\"type\":').splitlines()\n": "    messages = [json.dumps(event, separators=(',', ':'), ensure_ascii=False).encode() for event in json.loads(b\"[%b]\" % text)]\n",
            "import sys\n": "import json\nimport sys\n",
        },
    ),
    Wrong(
        "12.2",
        "a loop without an end",
        "más de 1 MiB de texto (¿un bucle que no termina?)",
        {"import zlib\n": "import zlib\n\nwhile True:\n    print('hola')\n"},
    ),
    Wrong("12.2", "four bytes too many", "sin los 4 bytes finales", {"Z_SYNC_FLUSH)) - 4": "Z_SYNC_FLUSH))"}),
    Wrong(
        "12.2",
        "one compressor for all",
        "con un compresor nuevo cada vez",
        {"size(message, zlib.compressobj(wbits=-15))": "size(message, shared)"},
    ),
    Wrong("13.1", "a text is a number", "'id': '1'", {"Field(strict=True, ": "Field("}),
    Wrong(
        "13.1",
        "true is a number",
        "'id': True",
        {"type(wanted) is int": "isinstance(wanted, int)"},
        "13.1.otra",
    ),
    Wrong(
        "13.1",
        "GET is unknown where its id is none",
        "un tipo conocido",
        {
            'except ValidationError:\n        return _error("mensaje_invalido")': 'except ValidationError:\n        return _error("mensaje_desconocido")'
        },
    ),
    Wrong("13.1", "no limit to an id", "'id': 1000000000", {"ge=1, le=INT4_MAX": "ge=1"}),
    Wrong(
        "13.1",
        "the database always answers",
        "si la base de datos no responde",
        {'    except Unavailable:\n        return _error("sin_base_de_datos")\n    if': "    if"},
    ),
    Wrong(
        "13.1",
        "what is not there is null",
        "Producto no encontrado",
        {
            '        return _error("producto_no_encontrado")\n': '        return message_frame("ERROR", message="No hay datos")\n'
        },
    ),
    Wrong("13.2", "who says it hears it", "que a quien avisa no le llegara nada", {"other is not stream and ": ""}),
    Wrong("13.2", "the id is beside the data", "falta, o es null", {'data={"id": product_id}': "id=product_id"}),
    Wrong(
        "13.2", "bytes are no text", "una trama binaria", {"other.send(editing)": 'other.send(b"\\x82" + editing[1:])'}
    ),
    Wrong(
        "13.2",
        "rooms do not count",
        "que en una sala sin ese producto",
        {" and (wanted is None or product_id in wanted)": ""},
    ),
    Wrong(
        "13.2",
        "anything is an id",
        "ERROR tras {'type': 'EDITING', 'id': 0}",
        {'Subscription.model_validate({"productos": [asked["id"]]}).productos or ()': '[int(asked["id"])]'},
    ),
    Wrong(
        "13.2",
        "true is an id",
        "ERROR tras {'type': 'EDITING', 'id': True}",
        {" and number is not True": ""},
        "13.2.otra",
    ),
    Wrong(
        "14.1",
        "the file is half written",
        "queda entera la de antes",
        {
            '    new = file.with_suffix(".new")\n    new.write_text(json.dumps(position))\n    os.replace(new, file)\n': "    file.write_text(json.dumps(position))\n",
            "import os\n": "",
        },
    ),
    Wrong(
        "14.1",
        "a PONG is an event",
        "tras un PONG",
        {
            'print(event["id"]': 'print(event.get("id")',
            "                continue\n": "                process(message)\n                continue\n",
        },
    ),
    Wrong(
        "14.1",
        "the position is kept first",
        "antes de guardar la posición",
        {
            '            process(message)\n            keep(file, {"last_event_id": message["id"], "epoch": epoch})\n': '            keep(file, {"last_event_id": message["id"], "epoch": epoch})\n            process(message)\n'
        },
    ),
    Wrong(
        "14.1",
        "without a file it begins at the end",
        "desde el primer evento",
        {
            'else {"last_event_id": 0}': "else {}",
            'if not welcome["recovered"]:': 'if file.exists() and not welcome["recovered"]:',
        },
    ),
    Wrong(
        "14.1",
        "the position has no epoch",
        "recovered lo dice",
        {'{"last_event_id": message["id"], "epoch": epoch}': '{"last_event_id": message["id"]}'},
    ),
    Wrong(
        "14.2",
        "only the first page",
        "que no caben en una página",
        {"        if not events:\n            return\n": "        return\n"},
    ),
    Wrong("14.2", "a change of price moves no stock", "KeyError: 'stock'", {'.get("stock", stock)': '["stock"]'}),
    Wrong(
        "14.2",
        "nothing is a movement",
        "como líneas de movimientos.py",
        {"            if delta:\n": "            if True:\n"},
    ),
    Wrong(
        "15.1",
        "the lock is taken after the number",
        "que «slow» se perdiera",
        {
            "    numero := nextval('eventos_id_seq');\n": "    numero := nextval('eventos_id_seq');\n    PERFORM pg_advisory_xact_lock_shared(2024013002);\n"
        },
    ),
    Wrong(
        "15.1", "another line is away", 'null value in column "id"', {"    numero := nextval('eventos_id_seq');\n": ""}
    ),
    Wrong(
        "15.1",
        "the lock is exclusive",
        "que «fast» confirmara mientras «slow» sigue",
        {
            "    numero := nextval('eventos_id_seq');\n": "    PERFORM pg_advisory_xact_lock(2024013002);\n"
            "    numero := nextval('eventos_id_seq');\n"
        },
    ),
    Wrong(
        "15.2",
        "a hundred connections and no more",
        "más de cien conexiones",
        {"connector=aiohttp.TCPConnector(limit=0)": ""},
    ),
    Wrong(
        "15.2",
        "the welcome is the event",
        "la hora del evento",
        {"            await ws.receive()  # the welcome\n": "            pass\n"},
    ),
    Wrong("15.2", "seconds", "milisegundos, y no segundos", {"(moment - began) * 1000": "(moment - began)"}),
    Wrong(
        "15.2",
        "the clock is started with the answer",
        "antes de enviar el POST",
        {
            "        began = time.perf_counter()\n": "",
            'await answer.json())["data"]\n': 'await answer.json())["data"]\n        began = time.perf_counter()\n',
        },
    ),
    Wrong(
        "15.2",
        "the product stays",
        "como eventos de avalancha.py",
        {"        await session.delete(f\"{url}/api/productos/{product['id']}\")\n": ""},
    ),
]
