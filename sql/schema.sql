-- The inventory and its log: PostgreSQL 14 to 18. Idempotent: it may be applied at every start and takes no lock that
-- a writer holds; it never drops data. Whoever owns the tables applies it (`python -m inventory_ws schema | psql`).
BEGIN;
SELECT pg_advisory_xact_lock(2024013001); -- two services that start at once
-- The functions below keep this path: whoever writes, from whatever schema, they find the same tables.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE TABLE IF NOT EXISTS productos (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    nombre varchar(255) NOT NULL CHECK (nombre ~ '[^[:space:]]'),
    descripcion text CHECK (length(descripcion) <= 10000),
    precio numeric(12, 2) NOT NULL CHECK (precio >= 0 AND precio <= 9999999999.99), -- NaN passes the first alone
    stock integer NOT NULL DEFAULT 0 CHECK (stock >= 0),
    created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()) CHECK (isfinite(created_at)),
    updated_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now())
);

-- What happened to the products, in order. `mensaje` is what the sockets are sent, byte for byte; `clave` the
-- Idempotency-Key of the request that did it, `huella` what else that request has to be to be the same again.
CREATE SEQUENCE IF NOT EXISTS eventos_id_seq CACHE 1; -- a larger cache would hand out ids out of order for good
CREATE TABLE IF NOT EXISTS eventos (
    id bigint PRIMARY KEY,
    tipo text NOT NULL,
    producto_id integer NOT NULL,
    mensaje json NOT NULL
);

-- One row. Positions count in the epoch `epoca`, and those of former epochs up to where `anteriores` says, as
-- {"uuid": position}; none below `desde` counts: those events were pruned, or a TRUNCATE cut them off. `lugar` is the
-- server, the database and the tables in which the epoch began.
CREATE TABLE IF NOT EXISTS eventos_epoca (
    unica boolean PRIMARY KEY DEFAULT true CHECK (unica),
    epoca uuid NOT NULL DEFAULT gen_random_uuid(),
    desde bigint NOT NULL DEFAULT 0
);
INSERT INTO eventos_epoca DEFAULT VALUES ON CONFLICT DO NOTHING;

-- What came after 0.1.0. ALTER TABLE and CREATE INDEX keep writers waiting: only what is missing is made, and of a long
-- log it takes its time.
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

-- The product as the wire shows it. A set of one row, because PostgreSQL inlines such a function and a scalar one not.
CREATE OR REPLACE FUNCTION producto_json(p productos) RETURNS SETOF json LANGUAGE sql STABLE AS $$
    SELECT row_to_json(r) FROM (
        SELECT p.id, p.nombre, p.descripcion, p.precio, p.stock,
            to_char(p.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at,
            to_char(p.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at
    ) AS r
$$;

-- A text as searches compare it: without case and accents, however it was composed. Accents count where the database is
-- not in UTF-8. Letters of ASCII are lowered by themselves: in Turkish I is not i.
CREATE OR REPLACE FUNCTION texto_plegado(texto text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT lower(lower(
        CASE WHEN octet_length(texto) = length(texto) OR getdatabaseencoding() <> 'UTF8' THEN texto
        ELSE regexp_replace(normalize(texto, NFD), '[\u0300-\u036F]+', '', 'g') END COLLATE "C") COLLATE "default")
$$;

-- The sequence of the ids, whatever its name. IMMUTABLE: a session looks for it once and not at every row.
CREATE OR REPLACE FUNCTION productos_secuencia() RETURNS regclass LANGUAGE sql IMMUTABLE
SET search_path FROM CURRENT AS $$ SELECT pg_get_serial_sequence('productos', 'id')::regclass $$;

-- Draws ids until the sequence has come to one that was brought. setval() can set it back below what others draw
-- meanwhile: it only leads over a gap too large to be drawn, and ends 100,000 before the id.
CREATE OR REPLACE FUNCTION productos_alcanzar(hasta integer) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
    ultimo bigint := coalesce(pg_sequence_last_value(productos_secuencia()), 0);
BEGIN
    IF hasta - ultimo > 1000000 THEN
        PERFORM pg_advisory_xact_lock(2024013003); -- of two such gaps, the second is measured after the first
        ultimo := coalesce(pg_sequence_last_value(productos_secuencia()), 0);
        IF hasta - ultimo > 1000000 THEN
            ultimo := setval(productos_secuencia(), hasta - 100000);
        END IF;
    END IF;
    WHILE ultimo < hasta LOOP
        ultimo := nextval(productos_secuencia());
    END LOOP;
END $$;
SELECT productos_alcanzar((SELECT max(id) FROM productos)); -- brought before this trigger was, or past it

-- `updated_at` is the row's version: whole milliseconds, and every change moves it forward, whatever the clock does.
CREATE OR REPLACE FUNCTION productos_version() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    NEW.created_at := date_trunc('milliseconds', NEW.created_at);
    IF TG_OP = 'INSERT' THEN
        -- An id that was drawn is never above the sequence: this one was brought, by COPY or OVERRIDING SYSTEM VALUE.
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

-- Begins an epoch in which no position of `cual` or of former epochs counts. Does nothing where `cual` is over already,
-- or the event `ultimo` was pruned.
CREATE OR REPLACE FUNCTION eventos_cortar(cual uuid, ultimo bigint DEFAULT NULL) RETURNS void LANGUAGE sql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
    UPDATE eventos_epoca SET epoca = gen_random_uuid(), anteriores = '{}',
        desde = (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM eventos_id_seq)
    WHERE epoca = cual AND (ultimo <= desde) IS NOT TRUE;
    SELECT pg_notify('inventory_ws', '');
$$;

-- Begins an epoch where the log may have lost its end: in another run of the server (a crash, a failover, a folder put
-- back), in another database or in other tables (a dump). The former epochs count up to the event that is now the last.
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
        IF (antes[3] = aqui[3]) <> (antes[4] = aqui[4]) THEN -- the log of one state, the products of another
            PERFORM eventos_cortar(epoca) FROM eventos_epoca;
        END IF;
        PERFORM pg_notify('inventory_ws', '');
    END IF;
END $$;

-- Writes the event of one changed row. It runs at COMMIT (deferred), so that a transaction left open blocks nobody. The
-- transaction may say in `inventory_ws.causa` what it does it for: {"actor", "motivo", "clave", "huella"}.
CREATE OR REPLACE FUNCTION eventos_registrar() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    tablas text := TG_RELID || ' ' || 'eventos'::regclass::oid;
    causa jsonb := nullif(current_setting('inventory_ws.causa', true), ''); -- '' once a transaction had one
    antes text;
    numero bigint;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW IS NOT DISTINCT FROM OLD THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
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
    -- Before the first event of a session, which never outlives its server: a new epoch begins where the old log ends.
    IF current_setting('inventory_ws.tablas', true) IS DISTINCT FROM tablas THEN
        PERFORM eventos_comprobar();
        PERFORM set_config('inventory_ws.tablas', tablas, false);
    END IF;
    IF causa ? 'clave' THEN -- of several rows the first event has the key
        PERFORM set_config('inventory_ws.causa', (causa - '{clave,huella}'::text[])::text, true);
    END IF;
    -- The turnstile. A sequence hands out ids before the commits make them visible; while this lock is shared by
    -- every transaction that has drawn one, whoever gets it alone knows that nothing is in between.
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
    -- NOTIFY takes a lock of the whole server at commit; the service rings its own bell instead.
    IF current_setting('inventory_ws.bell', true) IS DISTINCT FROM 'local' THEN
        PERFORM pg_notify('inventory_ws', '');
    END IF;
    RETURN NULL;
END $$;

-- The last event that is visible for good, its epoch, and the event up to which the log is gone. No `limite` where a
-- commit under way does not let us know in 50 ms.
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

-- TRUNCATE fires no row trigger: the log can't tell what went, so positions before it end here.
CREATE OR REPLACE FUNCTION eventos_nueva_epoca() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM eventos_cortar(epoca) FROM eventos_epoca;
    RETURN NULL;
END $$;

-- Deletes at most 1,000 of the oldest events: those over so many days old, and those beyond the newest so many.
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

-- They act with the rights of their owner. To fire a trigger nobody needs EXECUTE; to put it on a table of one's own,
-- and so to write into the log what one likes, one does.
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
