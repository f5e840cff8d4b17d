-- The first half of `inventory-ws reset NAME | psql`: takes all products away, in the database of this name and in no other. The
-- sample catalogue follows. TRUNCATE begins an epoch: every client loads the list again.
DO $$ BEGIN
    IF current_database() <> current_setting('inventory_ws.reset') THEN
        RAISE 'no se ha borrado nada: esta base se llama %; se vacía con inventory-ws reset %', current_database(), current_database();
    END IF;
END $$;
TRUNCATE productos RESTART IDENTITY;
