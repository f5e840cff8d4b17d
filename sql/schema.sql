-- The inventory and its log, for PostgreSQL 14 to 18. It is applied at every start, never drops data, and waits for writers
-- only in an upgrade. The owner of the tables can also apply it by hand (`python -m inventory_ws schema | psql`).
BEGIN;
SELECT pg_advisory_xact_lock(2024013001); -- services that start at the same time apply it one after the other
-- The functions store this search_path, so that they find these tables whatever the search_path of their caller is.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

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
-- import appends a space and its result to the hash.
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
-- identifies where the epoch began: the start time of the server, and the oids of the database and of both tables.
CREATE TABLE IF NOT EXISTS eventos_epoca (
    unica boolean PRIMARY KEY DEFAULT true CHECK (unica),
    epoca uuid NOT NULL DEFAULT gen_random_uuid(),
    desde bigint NOT NULL DEFAULT 0
);
INSERT INTO eventos_epoca DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Additions since 0.1.0. ALTER TABLE and CREATE INDEX block writers, so they are executed only if something is missing. On a
-- long log they take long, hence no time limit.
SET LOCAL statement_timeout = 0;
DO $$
DECLARE
    columna record;
BEGIN
    FOR columna IN SELECT * FROM (VALUES
        ('eventos_epoca', 'anteriores', $c$jsonb NOT NULL DEFAULT '{}'$c$),
        ('eventos_epoca', 'lugar', 'text[]'),
        ('eventos', 'clave', 'text'),
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

-- The sequence of the ids, whatever its name. Declared IMMUTABLE, though it is not, so that it is evaluated once per session.
CREATE OR REPLACE FUNCTION productos_secuencia() RETURNS regclass LANGUAGE sql IMMUTABLE
SET search_path FROM CURRENT AS $$ SELECT pg_get_serial_sequence('productos', 'id')::regclass $$;

-- Advances the sequence to an id that was inserted explicitly. It draws ids, because setval() could move the sequence back
-- below ids that others draw meanwhile. If the gap is over 1,000,000, setval() first jumps to 100,000 before the id.
CREATE OR REPLACE FUNCTION productos_alcanzar(hasta integer) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    ultimo bigint := coalesce(pg_sequence_last_value(productos_secuencia()), 0);
BEGIN
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
SELECT productos_alcanzar((SELECT max(id) FROM productos)); -- ids inserted before the trigger existed, or without it

-- `updated_at` is the version of the row, in whole milliseconds. Every change moves it forward, even if the clock goes back.
CREATE OR REPLACE FUNCTION productos_version() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    NEW.created_at := date_trunc('milliseconds', NEW.created_at);
    IF TG_OP = 'INSERT' THEN
        -- An id above the sequence was inserted explicitly, by COPY or OVERRIDING SYSTEM VALUE.
        IF NEW.id > coalesce(pg_sequence_last_value(productos_secuencia()), 0) THEN
            PERFORM productos_alcanzar(NEW.id);
        END IF;
        NEW.updated_at := date_trunc('milliseconds', now());
        RETURN NEW;
    END IF;
    IF NEW.id <> OLD.id THEN
        RAISE EXCEPTION 'el id de un producto no cambia' USING ERRCODE = 'check_violation';
    END IF;
    NEW.updated_at := OLD.updated_at;
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.updated_at := date_trunc('milliseconds', greatest(clock_timestamp(), OLD.updated_at + interval '1 ms'));
    END IF;
    RETURN NEW;
END $$;

-- Begins an epoch that invalidates all earlier positions. Does nothing if `cual` is no longer the current epoch, or if the
-- event `ultimo` was pruned.
CREATE OR REPLACE FUNCTION eventos_cortar(cual uuid, ultimo bigint DEFAULT NULL) RETURNS void LANGUAGE sql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
    UPDATE eventos_epoca SET epoca = gen_random_uuid(), anteriores = '{}',
        desde = (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM eventos_id_seq)
    WHERE epoca = cual AND (ultimo <= desde) IS NOT TRUE;
    SELECT pg_notify('inventory_ws', '');
$$;

-- Begins an epoch if the log may have lost its end: if the server was restarted (also after a failover or with a restored
-- folder), or if the database or the tables are others (a restored dump). Positions of former epochs stay valid up to the
-- event that is the last now.
CREATE OR REPLACE FUNCTION eventos_comprobar() RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    aqui text[] := ARRAY[extract(epoch FROM pg_postmaster_start_time())::text,
        (SELECT oid::text FROM pg_database WHERE datname = current_database()),
        'productos'::regclass::oid::text, 'eventos'::regclass::oid::text];
    antes text[] := (SELECT lugar FROM eventos_epoca);
BEGIN
    IF antes IS DISTINCT FROM aqui THEN
        UPDATE eventos_epoca SET epoca = gen_random_uuid(), lugar = aqui, anteriores = anteriores
            || jsonb_build_object(epoca, greatest(desde, (SELECT max(id) FROM eventos)))
        WHERE lugar IS DISTINCT FROM aqui;
        IF (antes[3] = aqui[3]) <> (antes[4] = aqui[4]) THEN -- only one of the tables was replaced
            PERFORM eventos_cortar(epoca) FROM eventos_epoca;
        END IF;
        PERFORM pg_notify('inventory_ws', '');
    END IF;
END $$;

-- Writes the event of one changed row. It is deferred to the COMMIT, so that an open transaction blocks nobody. The
-- transaction may set its cause in `inventory_ws.causa`: {"actor", "motivo", "clave", "huella"}.
CREATE OR REPLACE FUNCTION eventos_registrar() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    tablas text := TG_RELID || ' ' || 'eventos'::regclass::oid;
    causa jsonb := nullif(current_setting('inventory_ws.causa', true), ''); -- '' after a transaction that had one
    antes text;
    numero bigint;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW IS NOT DISTINCT FROM OLD THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        -- Column by column, because to compare both rows as JSON takes a fifth more CPU. A test fails if a column is missing.
        antes := '{' || concat_ws(',',
            CASE WHEN NEW.nombre <> OLD.nombre THEN '"nombre":' || to_json(OLD.nombre) END,
            CASE WHEN NEW.descripcion IS DISTINCT FROM OLD.descripcion
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
DROP FUNCTION IF EXISTS eventos_limite(); -- of 0.1.0
CREATE OR REPLACE FUNCTION eventos_estado(OUT limite bigint, OUT epoca uuid, OUT desde bigint) LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '50ms' AS $$
BEGIN
    PERFORM eventos_comprobar();
    PERFORM pg_advisory_xact_lock(2024013002);
    SELECT greatest(e.desde, (SELECT max(id) FROM eventos)), e.epoca, e.desde INTO limite, epoca, desde
    FROM eventos_epoca AS e;
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

-- Deletes at most 1,000 of the oldest events: those older than `dias`, and those beyond the newest `cuantos` (NULL: no limit).
CREATE OR REPLACE FUNCTION eventos_podar(dias double precision, cuantos bigint) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    podados integer;
    ultimo bigint;
BEGIN
    WITH viejos AS (
        SELECT id FROM (SELECT id, mensaje FROM eventos ORDER BY id LIMIT 1000) AS primeros
        WHERE (mensaje->>'timestamp')::timestamptz < now() - dias * interval '1 day'
           OR cuantos IS NOT NULL AND id <= (SELECT id FROM eventos ORDER BY id DESC OFFSET cuantos LIMIT 1)
    ), borrados AS (
        DELETE FROM eventos WHERE id <= (SELECT max(id) FROM viejos) RETURNING id
    )
    SELECT count(*), max(id) INTO podados, ultimo FROM borrados;
    UPDATE eventos_epoca SET desde = ultimo, anteriores = (
        SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(anteriores) WHERE value::bigint >= ultimo
    ) WHERE desde < ultimo;
    RETURN podados;
END $$;

-- These functions have the rights of their owner. Without EXECUTE, nobody can attach them to a table of their own and so forge
-- events; firing the triggers below does not need it.
REVOKE EXECUTE ON FUNCTION productos_version(), eventos_registrar(), eventos_nueva_epoca(), eventos_comprobar(),
    eventos_podar(double precision, bigint) FROM PUBLIC;

DO $$
DECLARE
    disparador record;
BEGIN
    FOR disparador IN SELECT * FROM (VALUES
        ('productos', 'productos_version', 'CREATE TRIGGER productos_version BEFORE INSERT OR UPDATE ON productos
            FOR EACH ROW EXECUTE FUNCTION productos_version()'),
        ('productos', 'eventos_registrar', 'CREATE CONSTRAINT TRIGGER eventos_registrar AFTER INSERT OR UPDATE OR DELETE
            ON productos DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION eventos_registrar()'),
        ('productos', 'eventos_nueva_epoca', 'CREATE TRIGGER eventos_nueva_epoca AFTER TRUNCATE ON productos
            FOR EACH STATEMENT EXECUTE FUNCTION eventos_nueva_epoca()'),
        ('eventos', 'eventos_nueva_epoca', 'CREATE TRIGGER eventos_nueva_epoca AFTER TRUNCATE ON eventos
            FOR EACH STATEMENT EXECUTE FUNCTION eventos_nueva_epoca()')
    ) AS lista (tabla, nombre, sentencia)
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = disparador.tabla::regclass AND tgname = disparador.nombre
        ) THEN
            EXECUTE disparador.sentencia;
        END IF;
    END LOOP;
END $$;
COMMIT;
