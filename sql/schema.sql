-- The inventory and its log, for PostgreSQL 14 to 18. It is applied at every start, never drops data, and waits for writers
-- only in an upgrade. The owner of the tables can also apply it by hand (`python -m inventory_ws schema | psql`).
BEGIN;
SELECT pg_advisory_xact_lock(2024013001); -- services that start at the same time apply it one after the other
-- The functions store this search_path, so that they find these tables whatever the search_path of their caller is. A schema that
-- was created in front of theirs, as one with the name of the role, is passed over.
SELECT set_config('search_path', coalesce(
    (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('eventos_epoca')),
    quote_ident(current_schema())) || ', pg_temp', true);

DO $$
DECLARE
    version constant integer := 4; -- of this file: to be raised with any change that an older service would undo
    instalada integer;
BEGIN
    IF to_regclass('eventos_epoca') IS NULL THEN
        IF getdatabaseencoding() = 'SQL_ASCII' THEN -- which takes any bytes for letters, and returns them
            RAISE EXCEPTION 'la base de datos está en SQL_ASCII: créela con ENCODING ''UTF8''' USING ERRCODE = '55000';
        END IF;
    ELSE
        SELECT to_jsonb(e) ->> 'esquema' INTO instalada FROM eventos_epoca AS e; -- NULL up to 0.1.1, without the column
        IF instalada > version THEN
            RAISE EXCEPTION 'la base de datos es de una versión posterior (esquema %, no %): actualice inventory-ws',
                instalada, version USING ERRCODE = '55000';
        ELSIF instalada IS DISTINCT FROM version
            AND NOT pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'eventos_epoca'::regclass), 'USAGE') THEN
            RAISE EXCEPTION 'la base de datos es de una versión anterior; que ejecute su dueño: inventory-ws schema | psql'
                USING ERRCODE = '55000';
        ELSIF instalada IS NULL THEN
            DROP ROUTINE IF EXISTS eventos_limite();
        END IF;
    END IF;
    PERFORM set_config('inventory_ws.esquema', version::text, true);
END $$;
-- Services up to 0.1.1 do not look at the version. They replace or drop a function of this name, which fails, and so they end.
CREATE OR REPLACE PROCEDURE eventos_limite() LANGUAGE sql AS '';

CREATE TABLE IF NOT EXISTS productos (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    nombre varchar(255) NOT NULL CHECK (nombre ~ '[^[:space:]]'),
    descripcion text CHECK (length(descripcion) <= 10000),
    precio numeric(12, 2) NOT NULL CHECK (precio >= 0 AND precio <= 9999999999.99), -- NaN is above every number
    stock integer NOT NULL DEFAULT 0 CHECK (stock >= 0),
    created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()) CHECK (isfinite(created_at)),
    updated_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now())
);

-- The log: every change of a product, in order. `mensaje` is the text that the sockets are sent, byte for byte. `clave` is the
-- Idempotency-Key of the request. `huella` is a hash of its method, path, user and body: a repeated request has the same. An
-- import appends a space and its result to the hash. (Columns that came later are further below.)
CREATE SEQUENCE IF NOT EXISTS eventos_id_seq CACHE 1; -- with a larger cache, each session has its own block of ids
CREATE TABLE IF NOT EXISTS eventos (
    id bigint PRIMARY KEY,
    tipo text NOT NULL,
    producto_id integer NOT NULL,
    mensaje json NOT NULL
);

-- One row. An epoch is one uninterrupted history of the log; ids of events are comparable within an epoch only. A
-- position is valid in the current epoch `epoca`, and in a former epoch up to the value in `anteriores`, as {"uuid":
-- position}. Below `desde` no position is valid: those events were pruned, or a TRUNCATE ended their history. `lugar`
-- identifies where the epoch began: the last start or crash of the server, and the oids of the database and of both tables.
-- `esquema` is the version of this file. `replica`: the owner wants rows of logical replication in the log. `base` and
-- `revisado` belong to eventos_revisar().
CREATE TABLE IF NOT EXISTS eventos_epoca (
    unica boolean PRIMARY KEY DEFAULT true CHECK (unica),
    epoca uuid NOT NULL DEFAULT gen_random_uuid(),
    desde bigint NOT NULL DEFAULT 0
);
INSERT INTO eventos_epoca DEFAULT VALUES ON CONFLICT DO NOTHING;

-- The sequence of the ids, whatever its name. Declared IMMUTABLE, though it is not, so that it is evaluated once per session.
CREATE OR REPLACE FUNCTION productos_secuencia() RETURNS regclass LANGUAGE sql IMMUTABLE
SET search_path FROM CURRENT AS $$ SELECT pg_get_serial_sequence('productos', 'id')::regclass $$;

-- Advances the sequence to an id that was inserted explicitly. It draws ids, because setval() could move the sequence back
-- below ids that others draw meanwhile. If the gap is over 1,000,000, setval() first jumps to 100,000 before the id. It does
-- not follow an id at the end of the integers, after which no other would be left.
CREATE OR REPLACE FUNCTION productos_alcanzar(hasta integer) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    ultimo bigint := coalesce(pg_sequence_last_value(productos_secuencia()), 0);
BEGIN
    IF hasta > 2147000000 THEN
        RETURN;
    END IF;
    IF hasta - ultimo > 1000000 THEN
        PERFORM pg_advisory_xact_lock(2024013003); -- two such jumps run one after the other
        ultimo := coalesce(pg_sequence_last_value(productos_secuencia()), 0);
        IF hasta - ultimo > 1000000 THEN
            ultimo := setval(productos_secuencia(), hasta - 100000);
        END IF;
    END IF;
    WHILE ultimo < hasta LOOP
        ultimo := nextval(productos_secuencia());
    END LOOP;
END $$;

-- Puts both sequences after the ids in the tables: logical replication moves rows without their sequences, and a load may
-- bring ids behind the triggers' back.
CREATE OR REPLACE FUNCTION eventos_alcanzar() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    hasta bigint := (SELECT greatest(desde, (SELECT max(id) FROM eventos)) FROM eventos_epoca);
BEGIN
    IF hasta > (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM eventos_id_seq) THEN
        PERFORM setval('eventos_id_seq', hasta), productos_alcanzar((SELECT max(producto_id) FROM eventos));
    END IF;
    PERFORM productos_alcanzar((SELECT max(id) FROM productos WHERE id <= 2147000000)::integer);
END $$;
SELECT eventos_alcanzar();

-- Additions since 0.1.0. ALTER TABLE and CREATE INDEX block writers, so they are executed only if something is missing. On a
-- long log they take long, hence no time limit. A writer locks the products before the log: an upgrade does too.
SET LOCAL statement_timeout = 0;
DO $$
DECLARE
    columna record;
BEGIN
    IF (SELECT to_jsonb(e) ->> 'esquema' FROM eventos_epoca AS e) IS DISTINCT FROM current_setting('inventory_ws.esquema') THEN
        LOCK TABLE productos;
    END IF;
    FOR columna IN SELECT * FROM (VALUES
        ('eventos_epoca', 'anteriores', $c$jsonb NOT NULL DEFAULT '{}'$c$),
        ('eventos_epoca', 'lugar', 'text[]'),
        ('eventos_epoca', 'esquema', 'integer'),
        ('eventos_epoca', 'replica', 'boolean NOT NULL DEFAULT false'),
        ('eventos_epoca', 'base', 'numeric'),
        ('eventos_epoca', 'revisado', 'text'),
        ('eventos', 'clave', 'text COLLATE "C"'), -- else its index is broken where another system sorts otherwise
        ('eventos', 'huella', 'text')
    ) AS lista (tabla, nombre, tipo)
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = columna.tabla::regclass AND attname = columna.nombre
        ) THEN
            EXECUTE format('ALTER TABLE %s ADD COLUMN %s %s', columna.tabla, columna.nombre, columna.tipo);
        END IF;
    END LOOP;
    IF to_regclass('eventos_clave') IS NULL THEN
        CREATE UNIQUE INDEX eventos_clave ON eventos (clave) WHERE clave IS NOT NULL;
    END IF;
    IF to_regclass('eventos_producto') IS NULL THEN
        CREATE INDEX eventos_producto ON eventos (producto_id, id);
    END IF;
END $$;

-- The product in the wire format. It returns a set because PostgreSQL inlines such a function, but not a scalar one.
CREATE OR REPLACE FUNCTION producto_json(p productos) RETURNS SETOF json LANGUAGE sql STABLE AS $$
    SELECT row_to_json(r) FROM (
        SELECT p.id, p.nombre, p.descripcion, p.precio, p.stock,
            to_char(p.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at,
            to_char(p.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at
    ) AS r
$$;

-- A text as searches compare it: lower case, without accents in any Unicode form. (In a database that is not in UTF-8, accents
-- stay.) ASCII is lowered first and with the collation C, because a Turkish locale would lower I to a dotless i.
CREATE OR REPLACE FUNCTION texto_plegado(texto text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT lower(lower(
        CASE WHEN octet_length(texto) = length(texto) OR getdatabaseencoding() <> 'UTF8' THEN texto
        ELSE regexp_replace(normalize(texto, NFD), '[\u0300-\u036F]+', '', 'g') END COLLATE "C") COLLATE "default")
$$;

-- `updated_at` is the version of the row, in whole milliseconds. Every change moves it forward, even if the clock goes back.
-- Rows are compared by their bytes (`*<>`), because a type may call two values equal that are not (citext), or have no equality
-- (json). A stored generated column is NULL in NEW: where only such columns seem to differ, the rows are compared without them.
CREATE OR REPLACE FUNCTION productos_version() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    generadas text[];
BEGIN
    NEW.created_at := date_trunc('milliseconds', NEW.created_at);
    IF TG_OP = 'INSERT' THEN
        -- An id above the sequence was inserted explicitly, by COPY or OVERRIDING SYSTEM VALUE.
        IF NEW.id > coalesce(pg_sequence_last_value(productos_secuencia()), 0) THEN
            PERFORM productos_alcanzar(NEW.id::integer);
        END IF;
        NEW.updated_at := date_trunc('milliseconds', now());
        RETURN NEW;
    END IF;
    IF NEW.id <> OLD.id THEN
        RAISE EXCEPTION 'el id de un producto no cambia' USING ERRCODE = 'check_violation';
    END IF;
    NEW.updated_at := OLD.updated_at;
    IF NEW *= OLD THEN
        RETURN NEW;
    ELSIF ROW(NEW.nombre, NEW.descripcion, NEW.precio, NEW.stock)::record
        *= ROW(OLD.nombre, OLD.descripcion, OLD.precio, OLD.stock)::record THEN
        generadas := ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = TG_RELID AND attgenerated = 's');
        IF to_jsonb(NEW) - generadas = to_jsonb(OLD) - generadas THEN
            RETURN NEW;
        END IF;
    END IF;
    NEW.updated_at := date_trunc('milliseconds', greatest(clock_timestamp(), OLD.updated_at + interval '1 ms'));
    RETURN NEW;
END $$;

-- What a product adds to `base`. The sum tells how many products there are, and all but surely which.
CREATE OR REPLACE FUNCTION producto_peso(id integer) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT id + 1e12';

-- Begins an epoch that invalidates all earlier positions. Changes nothing if `cual` is no longer the current epoch, or if the
-- event `ultimo` was pruned.
CREATE OR REPLACE FUNCTION eventos_cortar(cual uuid, ultimo bigint DEFAULT NULL) RETURNS void LANGUAGE sql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
    UPDATE eventos_epoca SET epoca = gen_random_uuid(), anteriores = '{}',
        base = (SELECT coalesce(sum(producto_peso(id::integer)), 0) FROM productos),
        desde = (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM eventos_id_seq)
    WHERE epoca = cual AND (ultimo <= desde) IS NOT TRUE;
    SELECT pg_notify('inventory_ws', '');
$$;

-- Begins an epoch if the log may have lost its end: if the server was restarted (also after a failover or with a restored
-- folder) or has recovered from a crash of one of its processes, which resets its statistics, or if the database or the tables
-- are others (a restored dump). Positions of former epochs stay valid up to the event that is the last now.
CREATE OR REPLACE FUNCTION eventos_comprobar() RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    aqui text[] := ARRAY[extract(epoch FROM pg_postmaster_start_time())::text,
        (SELECT oid::text FROM pg_database WHERE datname = current_database()),
        'productos'::regclass::oid::text, 'eventos'::regclass::oid::text,
        (SELECT extract(epoch FROM stats_reset)::text FROM pg_stat_bgwriter)];
    antes text[] := (SELECT lugar FROM eventos_epoca);
BEGIN
    IF antes IS DISTINCT FROM aqui THEN
        UPDATE eventos_epoca SET epoca = gen_random_uuid(), lugar = aqui, anteriores = anteriores
            || jsonb_build_object(epoca, greatest(desde, (SELECT max(id) FROM eventos)))
        WHERE lugar IS DISTINCT FROM aqui;
        IF (antes[3] = aqui[3]) <> (antes[4] = aqui[4]) THEN -- only one of the tables was replaced
            PERFORM eventos_cortar(epoca) FROM eventos_epoca;
        END IF;
        PERFORM eventos_alcanzar();
        PERFORM pg_notify('inventory_ws', '');
    END IF;
END $$;

-- Writes the event of one changed row. It is deferred to the COMMIT (in productos_cambiar() to the end of each change), so that an
-- open transaction blocks nobody. The transaction may set its cause in `inventory_ws.causa`: {"actor", "motivo", "clave", "huella"};
-- `juntos`: nobody else's event comes between its own.
CREATE OR REPLACE FUNCTION eventos_registrar() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    tablas text := TG_RELID || ' ' || 'eventos'::regclass::oid;
    causa jsonb := nullif(current_setting('inventory_ws.causa', true), ''); -- '' after a transaction that had one
    antes text;
    numero bigint;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW *= OLD THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        -- Column by column, because to compare both rows as JSON takes a fifth more CPU. A test fails if a column is missing.
        antes := '{' || concat_ws(',',
            CASE WHEN ROW(NEW.nombre)::record *<> ROW(OLD.nombre)::record THEN '"nombre":' || to_json(OLD.nombre) END,
            CASE WHEN ROW(NEW.descripcion)::record *<> ROW(OLD.descripcion)::record
                THEN '"descripcion":' || coalesce(to_json(OLD.descripcion)::text, 'null') END,
            CASE WHEN NEW.precio <> OLD.precio THEN '"precio":' || OLD.precio END,
            CASE WHEN NEW.stock <> OLD.stock THEN '"stock":' || OLD.stock END
        ) || '}';
    ELSIF TG_OP = 'DELETE' THEN
        antes := (SELECT j FROM producto_json(OLD) AS j);
    END IF;
    -- Once per session is enough, because no session survives a restart of its server.
    IF current_setting('inventory_ws.tablas', true) IS DISTINCT FROM tablas THEN
        PERFORM eventos_comprobar();
        PERFORM set_config('inventory_ws.tablas', tablas, false);
    END IF;
    IF causa ? 'clave' THEN -- `clave` is unique: only the first event of a transaction has it
        PERFORM set_config('inventory_ws.causa', (causa - '{clave,huella}'::text[])::text, true);
    END IF;
    -- The turnstile. An id is drawn before its commit makes it visible. Every writer shares this lock from before it draws
    -- an id until its commit. A reader that gets the lock exclusively knows that no drawn id is still invisible.
    IF causa ? 'juntos' THEN -- a sale passes alone, after the commits under way: its events are next to one another
        PERFORM pg_advisory_xact_lock(2024013002);
    END IF;
    PERFORM pg_advisory_xact_lock_shared(2024013002);
    numero := nextval('eventos_id_seq');
    INSERT INTO eventos (id, tipo, producto_id, clave, huella, mensaje)
    SELECT m.id, m.type, coalesce(NEW.id, OLD.id), causa ->> 'clave', causa ->> 'huella',
        CASE WHEN antes IS NULL AND causa IS NULL THEN row_to_json(m)
        ELSE (concat_ws(',', left(row_to_json(m)::text, -1), '"antes":' || antes,
            '"actor":' || (causa -> 'actor')::text, '"motivo":' || (causa -> 'motivo')::text) || '}')::json END
    FROM (
        SELECT
            CASE TG_OP WHEN 'INSERT' THEN 'PRODUCT_CREATED' WHEN 'UPDATE' THEN 'PRODUCT_UPDATED'
                ELSE 'PRODUCT_DELETED' END AS type,
            numero AS id,
            CASE TG_OP WHEN 'DELETE' THEN (SELECT row_to_json(d) FROM (SELECT OLD.id) AS d)
                ELSE (SELECT j FROM producto_json(NEW) AS j) END AS data,
            to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS timestamp
    ) AS m;
    -- NOTIFY serializes the commits of the whole server. The service sets `bell` (connection.py) and wakes its feed itself; all other
    -- sessions notify here, also those of a host application's pool.
    IF current_setting('inventory_ws.bell', true) IS DISTINCT FROM 'local' THEN
        PERFORM pg_notify('inventory_ws', '');
    END IF;
    RETURN NULL;
END $$;

-- The bounds of the log: up to `limite`, all events are visible; up to `desde`, all are gone. `limite` is NULL if a commit in
-- progress holds the lock for more than 50 ms.
CREATE OR REPLACE FUNCTION eventos_estado(OUT limite bigint, OUT epoca uuid, OUT desde bigint) LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '50ms' AS $$
BEGIN
    PERFORM eventos_comprobar();
    PERFORM pg_advisory_xact_lock(2024013002);
    SELECT greatest(e.desde, (SELECT max(id) FROM eventos)), e.epoca, e.desde INTO limite, epoca, desde
    FROM eventos_epoca AS e;
    -- Somebody has set the sequence back, as a dump without its schema does at its end: ids below the head may have been drawn.
    -- (Replication that brings events leaves it behind: a subscription, pglogical.)
    IF limite > coalesce(pg_sequence_last_value('eventos_id_seq'), 0)
        AND NOT EXISTS (SELECT FROM pg_replication_origin) THEN
        PERFORM eventos_alcanzar();
        PERFORM eventos_cortar(epoca);
        limite := NULL;
    END IF;
EXCEPTION WHEN lock_not_available THEN
    SELECT NULL, e.epoca, e.desde INTO limite, epoca, desde FROM eventos_epoca AS e;
END $$;

-- TRUNCATE fires no row trigger, so the log does not contain what it deletes. A new epoch begins instead.
CREATE OR REPLACE FUNCTION eventos_nueva_epoca() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM eventos_cortar(epoca) FROM eventos_epoca;
    RETURN NULL;
END $$;

-- Below an event that is deleted, by eventos_podar() or by hand, no position is valid. `base` then includes what is gone; it is
-- unknown if the deletion left events below.
CREATE OR REPLACE FUNCTION eventos_borrados() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE eventos_epoca SET desde = ultimo,
        anteriores = (
            SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(anteriores) WHERE value::bigint >= ultimo),
        base = CASE WHEN NOT EXISTS (SELECT FROM eventos WHERE id > desde AND id <= ultimo) THEN base + (
            SELECT coalesce(sum(CASE tipo WHEN 'PRODUCT_CREATED' THEN 1 WHEN 'PRODUCT_DELETED' THEN -1 ELSE 0 END
                * producto_peso(producto_id)), 0) FROM borrados WHERE id > desde) END
    FROM (SELECT max(id) AS ultimo FROM borrados) AS b WHERE desde < ultimo;
    RETURN NULL;
END $$;

-- Deletes at most 1,000 of the oldest events: those older than `dias`, and those beyond the newest `cuantos` ids (NULL: no
-- limit). Ids have few gaps, and counting the events would take as long as there are events.
CREATE OR REPLACE FUNCTION eventos_podar(dias double precision, cuantos bigint) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    podados integer;
BEGIN
    DELETE FROM eventos WHERE id <= (
        SELECT max(id) FROM (SELECT id, mensaje FROM eventos ORDER BY id LIMIT 1000) AS primeros
        WHERE (mensaje->>'timestamp')::timestamptz < now() - dias * interval '1 day'
           OR id <= (SELECT max(id) FROM eventos) - cuantos
    );
    GET DIAGNOSTICS podados = ROW_COUNT;
    RETURN podados;
END $$;

-- The products that the log names. PostgreSQL has no skip scan: one step in the index for each, however many events there are.
CREATE OR REPLACE FUNCTION eventos_productos() RETURNS SETOF integer LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    WITH RECURSIVE nombrados (id) AS (
        SELECT min(producto_id) FROM eventos
        UNION ALL
        SELECT (SELECT min(producto_id) FROM eventos WHERE producto_id > n.id) FROM nombrados AS n WHERE n.id IS NOT NULL
    )
    SELECT id FROM nombrados WHERE id IS NOT NULL
$$;

-- Compares the products with the log: in a new epoch, if triggers or table were touched since the last time, or if `siempre`. A
-- product has to be as its last event says. The products that are older than the log (`sumados`, whether or not they still exist)
-- have to be those of its last cut (`base`; NULL: unknown). If not, somebody changed the table behind the triggers' back, and an
-- epoch begins.
CREATE OR REPLACE FUNCTION eventos_revisar(siempre boolean) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    -- A transaction that touches a trigger, or rewrites the table, leaves a trace here, even if it restores what it found.
    ahora text := (SELECT format('%s %s %s', epoca, pg_relation_filenode('productos'), (
        SELECT string_agg(format('%s %s', tgname, xmin), ' ' ORDER BY oid) FROM pg_trigger
        WHERE tgrelid IN ('productos'::regclass, 'eventos'::regclass) AND NOT tgisinternal)) FROM eventos_epoca);
    visto record;
BEGIN
    IF NOT siempre AND ahora = (SELECT revisado FROM eventos_epoca) OR NOT pg_try_advisory_xact_lock(2024013004) THEN
        RETURN;
    END IF;
    -- One statement, and so one snapshot, in which each change is there with its event or not at all.
    SELECT epoca, desde, base, difieren, sumados INTO visto FROM eventos_epoca, (
        SELECT bool_or(CASE ultimo WHEN 'PRODUCT_DELETED' THEN p.id IS NOT NULL
                ELSE p.id IS NULL OR j.j::text <> mensaje ->> 'data' AND NOT j.j::jsonb @> (mensaje ->> 'data')::jsonb END)
                FILTER (WHERE nombrado IS NOT NULL) AS difieren,
            coalesce(sum(producto_peso(coalesce(p.id, nombrado)::integer))
                FILTER (WHERE primero IS DISTINCT FROM 'PRODUCT_CREATED'), 0) AS sumados
        FROM (
            SELECT nombrado, mensaje, ultimos.tipo AS ultimo, primeros.tipo AS primero
            FROM eventos_epoca AS e, eventos_productos() AS nombrado, LATERAL (
                SELECT tipo, mensaje FROM eventos WHERE producto_id = nombrado AND id > e.desde ORDER BY id DESC LIMIT 1
            ) AS ultimos, LATERAL (
                SELECT tipo FROM eventos WHERE producto_id = nombrado AND id > e.desde ORDER BY id LIMIT 1
            ) AS primeros
        ) AS nombrados FULL JOIN productos AS p ON p.id = nombrado LEFT JOIN LATERAL producto_json(p.*) AS j ON true
    ) AS comparados;
    IF visto.difieren OR visto.base <> visto.sumados THEN
        PERFORM pg_advisory_xact_lock(2024013002); -- no commit is under way: what the table holds is older than the epoch
        PERFORM eventos_cortar(visto.epoca);
    ELSE
        UPDATE eventos_epoca SET base = visto.sumados, revisado = ahora
        WHERE (epoca, desde) = (visto.epoca, visto.desde) AND (base, revisado) IS DISTINCT FROM (visto.sumados, ahora);
    END IF;
END $$;

-- The triggers. That of the version has to run after the owner's, which may change the row; they run in alphabetical order.
CREATE OR REPLACE FUNCTION eventos_disparadores(OUT tabla text, OUT nombre text, OUT resto text, OUT estado "char")
RETURNS SETOF record LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT lista.*, tgenabled FROM (VALUES
        ('productos', 'zz_productos_version', 'BEFORE INSERT OR UPDATE ON productos
            FOR EACH ROW EXECUTE FUNCTION productos_version()'),
        ('productos', 'eventos_registrar', 'AFTER INSERT OR UPDATE OR DELETE ON productos DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION eventos_registrar()'),
        ('productos', 'eventos_nueva_epoca', 'AFTER TRUNCATE ON productos EXECUTE FUNCTION eventos_nueva_epoca()'),
        ('eventos', 'eventos_nueva_epoca', 'AFTER TRUNCATE ON eventos EXECUTE FUNCTION eventos_nueva_epoca()'),
        ('eventos', 'eventos_borrados', 'AFTER DELETE ON eventos REFERENCING OLD TABLE AS borrados
            EXECUTE FUNCTION eventos_borrados()')
    ) AS lista (tabla, nombre, resto) LEFT JOIN pg_trigger ON tgrelid = tabla::regclass AND tgname = nombre
$$;

-- What keeps changes from the log, or the log from its reader: one line for each, with its remedy.
CREATE OR REPLACE FUNCTION eventos_faltas() RETURNS SETOF text LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT 'hay disparadores que no actúan (' || string_agg(nombre || ' de ' || tabla, ', ' ORDER BY nombre, tabla)
        || '): inventory-ws schema | psql'
    FROM eventos_disparadores(), eventos_epoca
    WHERE estado IS NULL OR estado <> 'A' AND (estado <> 'O' OR replica) HAVING count(*) > 0
    UNION ALL
    SELECT 'los números de los eventos salen en desorden (CACHE): inventory-ws schema | psql'
    FROM pg_sequence WHERE seqrelid = 'eventos_id_seq'::regclass AND seqcache <> 1
    UNION ALL
    SELECT format('la seguridad de filas esconde %s a %s: ALTER ROLE %2$s BYPASSRLS', tabla, current_user)
    FROM unnest('{eventos,eventos_epoca}'::text[]) AS tabla WHERE row_security_active(tabla)
    UNION ALL
    SELECT format(CASE WHEN relispartition THEN 'TRUNCATE y DETACH de %s no se oyen: haga de productos una tabla sin particiones'
        ELSE 'lo que se escribe en %s no se oye: ALTER TABLE %1$s NO INHERIT productos' END, inhrelid::regclass)
    FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'productos'::regclass
    UNION ALL
    SELECT format('lo que escribe %s no se oye: ALTER ROLE %1$s SET session_replication_role = origin, y reinicie inventory-ws',
        current_user)
    FROM eventos_epoca WHERE current_setting('session_replication_role') = 'replica' AND NOT replica
    UNION ALL
    SELECT format('lo que llega por replicación %s: UPDATE eventos_epoca SET replica = %s; inventory-ws schema | psql',
        CASE WHEN replica THEN 'trae ya sus eventos' ELSE 'no se oye' END, (NOT replica)::text)
    FROM (
        SELECT bool_or(srrelid = 'productos'::regclass) AS productos, bool_or(srrelid = 'eventos'::regclass) AS eventos
        FROM pg_subscription_rel
    ) AS llegan, eventos_epoca WHERE productos AND eventos = replica
$$;

-- Makes changes that arrived together, each as if it were alone: an array of [statement, Idempotency-Key or ""] in JSON. Returns
-- what the statements return, each with its number. A change that was made before, has no effect, fails or would wait for a lock
-- is left out: the service makes it alone.
CREATE OR REPLACE FUNCTION productos_cambiar(cambios json) RETURNS TABLE (numero integer, producto_id integer, producto text)
LANGUAGE plpgsql AS $$
DECLARE
    cambio json;
BEGIN
    numero := 0;
    -- A deferrable trigger of the owner may change products in its turn: in another order than at a COMMIT.
    IF EXISTS (SELECT FROM pg_trigger
        WHERE tgrelid = 'productos'::regclass AND tgdeferrable AND NOT tgisinternal AND tgname <> 'eventos_registrar') THEN
        RETURN;
    END IF;
    PERFORM set_config('lock_timeout', '10ms', true);
    FOR cambio IN SELECT json_array_elements(cambios) LOOP
        numero := numero + 1;
        CONTINUE WHEN cambio ->> 1 <> '' AND EXISTS (SELECT FROM eventos WHERE clave = cambio ->> 1);
        PERFORM set_config('inventory_ws.causa', '', true);
        BEGIN
            EXECUTE cambio ->> 0 INTO producto_id, producto;
            IF producto_id IS NULL THEN -- a trigger of the owner may have done something instead
                RAISE EXCEPTION 'sin efecto';
            END IF;
            -- What is deferred to the COMMIT of a change alone: its events get its cause, and the owner's constraints fail here.
            SET CONSTRAINTS ALL IMMEDIATE;
            SET CONSTRAINTS ALL DEFERRED;
            RETURN NEXT;
        EXCEPTION WHEN OTHERS THEN -- undoes this change
        END;
    END LOOP;
END $$;

-- These functions have the rights of their owner. Without EXECUTE, nobody can attach them to a table of their own and so forge
-- events; firing the triggers does not need it.
REVOKE EXECUTE ON FUNCTION productos_version(), eventos_registrar(), eventos_nueva_epoca(), eventos_borrados(),
    eventos_comprobar(), eventos_alcanzar(), eventos_podar(double precision, bigint) FROM PUBLIC;

DO $$
DECLARE
    d record;
BEGIN
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'productos'::regclass AND tgname = 'productos_version') THEN
        ALTER TRIGGER productos_version ON productos RENAME TO zz_productos_version; -- up to 0.1.1
    END IF;
    FOR d IN SELECT * FROM eventos_disparadores() WHERE estado IS NULL LOOP
        EXECUTE format('CREATE %s TRIGGER %s %s', CASE WHEN d.resto ~ 'DEFERRED' THEN 'CONSTRAINT' END, d.nombre, d.resto);
    END LOOP;
    FOR d IN SELECT * FROM eventos_disparadores(), eventos_epoca WHERE estado <> CASE WHEN replica THEN 'A' ELSE 'O' END LOOP
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %s', d.tabla, CASE WHEN d.replica THEN 'ALWAYS' END, d.nombre);
    END LOOP;
    IF EXISTS (SELECT FROM pg_sequence WHERE seqrelid = 'eventos_id_seq'::regclass AND seqcache <> 1) THEN
        ALTER SEQUENCE eventos_id_seq CACHE 1; -- other sessions drop what they have cached
        PERFORM eventos_cortar(epoca) FROM eventos_epoca; -- ids came out of order: the feed has not read them all
    END IF;
    UPDATE eventos_epoca SET esquema = current_setting('inventory_ws.esquema')::integer
    WHERE esquema IS DISTINCT FROM current_setting('inventory_ws.esquema')::integer;
END $$;
COMMIT;
