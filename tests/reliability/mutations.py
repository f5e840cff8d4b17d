"""`python -m tests.reliability.mutations [word ...]`: takes out one protection at a time, in a copy, and sees its test fail."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from ..tools import checks
from ..tools.service import temporary

ROOT = Path(__file__).parents[2]
LIMIT = 150  # seconds for a test


class Mutation(NamedTuple):
    """A protection, the text that makes it, what stands there instead, and the arguments of pytest for its test."""

    protection: str
    path: str
    text: str
    instead: str
    test: str


MUTATIONS = [
    Mutation(
        "the turnstile's lock",
        "sql/schema.sql",
        "    PERFORM pg_advisory_xact_lock_shared(2024013002);\n",
        "",
        "tests/test_feed.py -k slow_commit_is_not_skipped",
    ),
    Mutation(
        "the replay",
        "inventory_ws/live/hub.py",
        "        elif stream.cursor < self.log.head:\n            self._replay(stream)\n",
        "",
        "tests/test_stream.py -k resume_continues",
    ),
    Mutation(
        "the polling of the log",
        "inventory_ws/live/feed.py",
        "POLL = 2.0",
        "POLL = 600.0",
        "tests/test_reliability.py -k lost_bell",
    ),
    Mutation(
        "the abort of stalled sockets",
        "inventory_ws/live/stream.py",
        "            elif loop.time() - since > STALL_TIMEOUT:\n                self.transport.abort()\n",
        "",
        "tests/test_sockets.py -k does_not_read_is_cut_off",
    ),
    Mutation(
        "the check of Origin",
        "inventory_ws/web/security.py",
        "foreign = origin and origin not in origins",
        "foreign = False and origin not in origins",
        "tests/test_security.py -k foreign_origin",
    ),
    Mutation(
        "a statement that the server cancelled is a 503",
        "inventory_ws/pg/errors.py",
        "UNAVAILABLE = (psycopg2.OperationalError, ",
        "UNAVAILABLE = (",
        "tests/test_reliability.py -k refused_in_time",
    ),
    Mutation(
        "the queue before the connections",
        "inventory_ws/pg/lanes.py",
        "                await slot.acquire()\n",
        "",
        "tests/test_database.py -k more_statements_than_connections",
    ),
    Mutation(
        "connections that changes leave to what does not wait",
        "inventory_ws/pg/lanes.py",
        "RESERVED = 2 ",
        "RESERVED = 0 ",
        "tests/test_connections.py -k leaves_room",
    ),
    Mutation(
        "the connection that health has to itself",
        "inventory_ws/pg/lanes.py",
        "Lane.HEALTH: Queue(1, [])",
        "Lane.HEALTH: quick",
        "tests/test_connections.py -k leaves_room",
    ),
    Mutation(
        "names are not looked up by libpq",
        "inventory_ws/pg/hosts.py",
        'return [make_dsn(**words | {"hostaddr": str(address[0])}) for *_, address in addresses]',
        "return [make_dsn(**words) for _ in addresses]",
        "tests/test_connections.py -k silent_resolver",
    ),
    Mutation(
        "one look-up of a name at a time",
        "inventory_ws/pg/hosts.py",
        "if number not in self._lookups or self._lookups[number].done():",
        "if True:",
        "tests/test_connections.py -k silent_resolver",
    ),
    Mutation(
        "an address that has failed is tried last",
        "inventory_ws/pg/hosts.py",
        "self._failures[dsn] = ",
        "self._failures[''] = ",
        "tests/test_connections.py -k dead_address",
    ),
    Mutation(
        "a statement that has waited is ended by the server first",
        "inventory_ws/pg/database.py",
        "if seconds or left < self.timeout - 0.1:",
        "if seconds:",
        "tests/test_connections.py -k throws_no_connection_away",
    ),
    Mutation(
        "one file at a time",
        "inventory_ws/live/hub.py",
        "ThreadPoolExecutor(1)",
        "ThreadPoolExecutor(8)",
        "tests/test_csvfile.py -k one_file_at_a_time",
    ),
    Mutation(
        "the second attempt at the same address",
        "inventory_ws/pg/database.py",
        "        addresses += addresses[:1]\n",
        "",
        "tests/test_connections.py -k hangs_is_made",
    ),
    Mutation(
        "a server that is read-only is not connected to",
        "inventory_ws/pg/connection.py",
        'if read_only == "on":',
        "if False:",
        "tests/test_database.py -k read_only",
    ),
    Mutation(
        "all connections are to one server",
        "inventory_ws/pg/database.py",
        "self._follow(conn.server)",
        "pass",
        "tests/test_connections.py -k connected_to_last",
    ),
    Mutation(
        "only a lost connection throws the idle ones away",
        "inventory_ws/pg/errors.py",
        '.startswith(("08", "57P0", "25006"))',
        '.startswith("")',
        "tests/test_connections.py -k throws_no_connection_away",
    ),
    Mutation(
        "what was used of late is no lost connection",
        "inventory_ws/pg/database.py",
        "if lost or idle.heard < loop.time() - self.timeout:",
        "if True:",
        "tests/test_connections.py -k used_of_late",
    ),
    Mutation(
        "a connection that comes late is for the next one",
        "inventory_ws/pg/database.py",
        "await asyncio.wait({opening})",
        "await opening",
        "tests/test_connections.py -k comes_late",
    ),
    Mutation(
        "statements that were given up count",
        "inventory_ws/pg/database.py",
        "self._given_up.add(conn.pid, queue)",
        "queue.release()",
        "tests/test_connections.py -k given_up",
    ),
    Mutation(
        "a change that is repeated waits for the standby",
        "inventory_ws/products/repository.py",
        """    await db.fetch("SELECT pg_logical_emit_message(true, 'inventory_ws', '')")\n""",
        "",
        "tests/test_connections.py -k repeated_change",
    ),
    Mutation(
        "a server that refuses one more connection is a slower service",
        "inventory_ws/pg/database.py",
        "return sum(bool(conn.pid) and not conn.closed for conn in self._all)",
        "return 0",
        "tests/test_connections.py -k fewer_connections",
    ),
    Mutation(
        "the loop leaves a socket that libpq has closed",
        "inventory_ws/pg/aiopg_fixes.py",
        "def _ready(",
        "def _unused(",
        "tests/test_database.py -k large_number",
    ),
    Mutation(
        "the end of an answer that nobody reads",
        "inventory_ws/cli/addresses.py",
        'if hasattr(socket, "TCP_USER_TIMEOUT"):',
        "if False:",
        "tests/test_wire.py -k client_that_is_slow",
    ),
    Mutation(
        "the check of Host",
        "inventory_ws/web/security.py",
        "if is_ours and hdrs.HOST in request.headers and not is_ours(host):",
        "if False:",
        "tests/test_wire.py -k security_matrix",
    ),
    Mutation(
        "the check of the epoch",
        "sql/schema.sql",
        "    IF antes IS DISTINCT FROM aqui THEN\n",
        "    IF antes IS NULL THEN\n",
        "tests/test_history.py -k restored_folder",
    ),
    Mutation(
        "the adoption of a newer epoch",
        "inventory_ws/live/feed.py",
        "        if epoch != self._log.epoch:\n            former",
        "        if not self._log.epoch:\n            former",
        "tests/test_history.py -k restart_of_postgresql",
    ),
    Mutation(
        "the look at the last event that was told",
        "inventory_ws/live/log.py",
        "return event.payload == self._recent[-1].payload\n",
        "return True\n",
        "tests/test_history.py -k log_without_its_end",
    ),
    Mutation(
        "the one time limit of a request with a key",
        "inventory_ws/products/repository.py",
        "async with asyncio.timeout(seconds or db.timeout):",
        "async with asyncio.timeout(None):",
        "tests/test_once.py -k one_time_limit",
    ),
    Mutation(
        "the unique index of the keys",
        "sql/schema.sql",
        "CREATE UNIQUE INDEX eventos_clave",
        "CREATE INDEX eventos_clave",
        "tests/test_once.py -k waiting_for_the_table",
    ),
    Mutation(
        "the fingerprint",
        "inventory_ws/products/repository.py",
        '    if rows[0][0].partition(" ")[0] != cause.fingerprint:'
        "  # an import appends its result\n        raise KeyReused\n",
        "",
        "tests/test_once.py -k 'another_request or another_user'",
    ),
    Mutation(
        "all rows of a file or none",
        "inventory_ws/files/importing.py",
        " OR NOT EXISTS (SELECT FROM faltas)",
        " OR true",
        "tests/test_csvfile.py -k faults_have_row",
    ),
    Mutation(
        "cells of a file that nobody touched",
        "inventory_ws/files/importing.py",
        " AND (base = suyo OR campo = 'nombre' AND base = crudo) THEN 'actual'",
        " AND false THEN 'actual'",
        "tests/test_files.py -k 'sells_nothing_again or untouched_cells'",
    ),
    Mutation(
        "cells that a file and others have changed",
        "inventory_ws/files/importing.py",
        "ELSE coalesce(decision, 'nadie') END AS gana",
        "ELSE coalesce(decision, 'archivo') END AS gana",
        "tests/test_files.py -k 'decided_by_a_person or untouched_cells'",
    ),
    Mutation(
        "what somebody has touched since an import",
        "inventory_ws/files/undoing.py",
        "j.j ->> 'updated_at' <> version AS tocado",
        "false AS tocado",
        "tests/test_files.py -k taken_back_where",
    ),
    Mutation(
        "the events of an import, and no others",
        "inventory_ws/files/undoing.py",
        "producto_id = id AND completa, ",
        "producto_id = id, ",
        "tests/test_files.py -k not_taken_back",
    ),
    Mutation(
        "the lock on the rows of a file",
        "inventory_ws/files/importing.py",
        '_judged(fields, " FOR NO KEY UPDATE")',
        "_judged(fields)",
        "tests/test_csvfile.py -k deleted_during_an_import",
    ),
    Mutation(
        "all lines of a sale or none",
        "inventory_ws/products/sales.py",
        "p.id = u.id AND NOT EXISTS (SELECT FROM faltas)",
        "p.id = u.id",
        "tests/test_sale.py -k one_does_not_fit",
    ),
    Mutation(
        "all lines of a sale or none, where the owner prevents one",
        "inventory_ws/products/sales.py",
        "            ::integer::information_schema.cardinal_number,\n",
        "            ,\n",
        "tests/test_sale.py -k owner_prevents",
    ),
    Mutation(
        "the lock on the products of a sale",
        "inventory_ws/products/sales.py",
        "FROM unidades) ORDER BY id FOR NO KEY UPDATE\n",
        "FROM unidades)\n",
        "tests/test_sale.py -k after_a_wait",
    ),
    Mutation(
        "the order of the locks of a sale",
        "inventory_ws/products/sales.py",
        "FROM unidades) ORDER BY id FOR NO KEY UPDATE\n",
        "FROM unidades) ORDER BY (SELECT n FROM unidades AS u WHERE u.id = p.id) FOR NO KEY UPDATE\n",
        "tests/test_sale.py -k do_not_wait",
    ),
    Mutation(
        "the turnstile for the events of a sale alone",
        "sql/schema.sql",
        "IF causa ? 'juntos' THEN",
        "IF false THEN",
        "tests/test_sale.py -k comes_between",
    ),
    Mutation(
        "the look-up before the refusal of a sale",
        "inventory_ws/products/repository.py",
        "except (Rejected, NotMade):",
        "except Rejected:",
        "tests/test_sale.py -k twenty_buyers",
    ),
    Mutation(
        "the key of a file, at its first event",
        "sql/schema.sql",
        "        PERFORM set_config('inventory_ws.causa', (causa - '{clave,huella}'::text[])::text, true);\n",
        "        NULL;\n",
        "tests/test_csvfile.py -k sent_again_is_done_once",
    ),
    Mutation(
        "the formula's apostrophe of a file",
        "inventory_ws/files/csvfile.py",
        "isinstance(cell, str) and FORMULA.match(cell)",
        "False",
        "tests/test_csvfile.py -k exported_list_imported_unchanged",
    ),
    Mutation(
        "the look-up before a change",
        "inventory_ws/products/repository.py",
        "    if first := await find():\n        return first\n    try:\n",
        "    try:\n",
        "tests/test_once.py -k repeated_request_gets",
    ),
    Mutation(
        "the look-up before a refusal",
        "inventory_ws/products/repository.py",
        "return made or await find() or made",
        "return made",
        "tests/test_once.py -k waiting_for_the_table",
    ),
    Mutation(
        "the look-up after a collision",
        "inventory_ws/products/repository.py",
        "        if first := await find():\n            return first\n        raise\n",
        "        raise\n",
        "tests/test_once.py -k waiting_for_the_table",
    ),
    Mutation(
        "first only what changes something",
        "inventory_ws/products/repository.py",
        "sql + effective, params",
        "sql, params",
        "tests/test_once.py -k waiting_for_the_table",
    ),
    Mutation(
        "the limit for each host",
        "inventory_ws/pg/database.py",
        "asyncio.timeout(ATTEMPT_TIMEOUT if addresses else LAST_TIMEOUT)",
        "asyncio.timeout(None)",
        "tests/test_database.py -k 'host_that_is_dead'",
    ),
    Mutation(
        "the bell of a change that was cancelled",
        "inventory_ws/live/hub.py",
        "        except (Unavailable, asyncio.CancelledError):\n            self.feed.ring()\n",
        "        except (Unavailable, asyncio.CancelledError):\n",
        "tests/test_hub.py -k cancelled_is_heard",
    ),
    Mutation(
        "the farewell to a handshake amid a shutdown",
        "inventory_ws/live/hub.py",
        "        if self.closing or len(self.sockets) > self.max_sockets:  # since the handshake began\n"
        "            self.disconnect(stream, WSCloseCode.GOING_AWAY)\n        elif ",
        "        if ",
        "tests/test_hub.py -k shutdown_overtakes",
    ),
    Mutation(
        "the position before a batch",
        "inventory_ws/live/stream.py",
        "if self.cursor < batch.after or ",
        "if ",
        "tests/test_hub.py -k not_at_the_position",
    ),
    Mutation(
        "the wait of a replay for PostgreSQL",
        "inventory_ws/live/stream.py",
        "            except Unavailable:\n                await asyncio.sleep(RETRY_PAUSE)",
        "            except ZeroDivisionError:\n                await asyncio.sleep(RETRY_PAUSE)",
        "tests/test_hub.py -k behind_waits_for_postgresql",
    ),
    Mutation(
        "the plain frames of a smaller window",
        "inventory_ws/live/stream.py",
        "if self.ws.compress == 15 else",
        "if self.ws.compress else",
        "tests/test_hub.py -k smaller_window",
    ),
    Mutation(
        "the time limit of a login check",
        "inventory_ws/web/websocket.py",
        "asyncio.timeout(CHECK_TIMEOUT)",
        "asyncio.timeout(None)",
        "tests/test_hub.py -k hangs_is_asked_again",
    ),
    Mutation(
        "the repair of triggers at the start",
        "sql/schema.sql",
        "    FOR d IN SELECT * FROM eventos_disparadores(), eventos_epoca WHERE estado <>",
        "    FOR d IN SELECT * FROM eventos_disparadores(), eventos_epoca WHERE false AND estado <>",
        "tests/test_unheard.py -k start_repairs",
    ),
    Mutation(
        "the comparison of each product with its last event",
        "sql/schema.sql",
        "    IF visto.difieren OR visto.base",
        "    IF visto.base",
        "tests/test_unheard.py -k behind_the_triggers",
    ),
    Mutation(
        "the sum of the products older than the log",
        "sql/schema.sql",
        "    IF visto.difieren OR visto.base <> visto.sumados THEN",
        "    IF visto.difieren THEN",
        "tests/test_unheard.py -k pruned_log",
    ),
    Mutation(
        "the sequences after the ids",
        "sql/schema.sql",
        "SELECT eventos_alcanzar();\n",
        "",
        "tests/test_unheard.py -k behind_the_log",
    ),
    Mutation(
        "the floor at deleted events",
        "sql/schema.sql",
        "    UPDATE eventos_epoca SET desde = ultimo,",
        "    UPDATE eventos_epoca SET desde = desde,",
        "tests/test_unheard.py -k floor_follows",
    ),
    Mutation(
        "the epoch after a crash",
        "sql/schema.sql",
        "        (SELECT extract(epoch FROM stats_reset)::text FROM pg_stat_bgwriter)];",
        "        ''];",
        "tests/test_moves.py -k crash",
    ),
    Mutation(
        "the owner's choice of replication",
        "sql/schema.sql",
        "WHERE estado <> CASE WHEN replica THEN 'A' ELSE 'O' END LOOP",
        "WHERE estado <> 'O' LOOP",
        "tests/test_moves.py -k 'data_only or subscription'",
    ),
    Mutation(
        "the refusal of a newer schema",
        "sql/schema.sql",
        "        IF instalada > version THEN",
        "        IF false THEN",
        "tests/test_unheard.py -k newer_schema",
    ),
    Mutation(
        "the comparison of rows by bytes",
        "sql/schema.sql",
        "    IF TG_OP = 'UPDATE' AND NEW *= OLD THEN",
        "    IF TG_OP = 'UPDATE' AND NEW IS NOT DISTINCT FROM OLD THEN",
        "tests/test_unheard.py -k 'type_calls or without_equality'",
    ),
    *(
        Mutation(f"batch: {protection}", path, text, instead, f"tests/test_batching.py -k {test}")
        for protection, path, text, instead, test in (
            (
                "each change has its own cause",
                "sql/schema.sql",
                "            SET CONSTRAINTS ALL IMMEDIATE;\n",
                "",
                "nobody_can_tell",
            ),
            (
                "no change has the cause of another",
                "sql/schema.sql",
                "        PERFORM set_config('inventory_ws.causa', '', true);\n",
                "",
                "nobody_can_tell",
            ),
            (
                "events in the order of a change alone",
                "sql/schema.sql",
                "            SET CONSTRAINTS ALL DEFERRED;\n",
                "",
                "nobody_can_tell",
            ),
            (
                "keys are looked up first",
                "sql/schema.sql",
                "        CONTINUE WHEN cambio ->> 1 <> '' AND EXISTS (SELECT FROM eventos WHERE clave = cambio ->> 1);\n",
                "",
                "draws_no_ids",
            ),
            ("no wait for a lock", "sql/schema.sql", "'lock_timeout', '10ms'", "'lock_timeout', '10s'", "locked_row"),
            (
                "a failure is that of one change",
                "sql/schema.sql",
                "EXCEPTION WHEN OTHERS THEN -- undoes",
                "EXCEPTION WHEN division_by_zero THEN -- undoes",
                "are_their_own",
            ),
            (
                "a limit of its own",
                "inventory_ws/products/batching.py",
                "BATCH_TIMEOUT = 0.5 ",
                "BATCH_TIMEOUT = 9.0 ",
                "trigger_that_sleeps",
            ),
            (
                "nobody waits long for another",
                "inventory_ws/products/batching.py",
                "PATIENCE = 0.05 ",
                "PATIENCE = 60.0 ",
                "only_shortly",
            ),
            (
                "what was cancelled is not made",
                "inventory_ws/products/batching.py",
                "if not each[1].done()]",
                "]",
                "takes_no_other",
            ),
            (
                "what may have been made is not made again",
                "inventory_ws/products/batching.py",
                "lost = None if undone else exc",
                "lost = None",
                "is_not_made_again",
            ),
        )
    ),
    Mutation(
        "the wait for the own changes",
        "inventory_ws/web/handlers.py",
        "        await log.reached(log.asked)",
        "        pass",
        "tests/test_feed.py -k was_answered_is",
    ),
]


def passes(tree: Path, dsn: str, test: str) -> str:
    """How pytest ends in the tree: "passed", "failed", or what else befell it."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *shlex.split(test)]
    env = {**os.environ, "TEST_DATABASE_URL": dsn, "PATIENCE": "3"}
    try:
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return f"not ended in {LIMIT} s"
    ends = {0: "passed", 1: "failed"}
    return ends.get(done.returncode) or f"status {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"


def main(words: list[str]) -> int:
    """Tries the mutations that have one of the words in their name (none: all). Returns 1 where one survives."""
    tree = temporary() / "tree"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, tree, ignore=ignored)
    chosen = [mutation for mutation in MUTATIONS if not words or any(word in mutation.protection for word in words)]
    survived = 0
    print(f"{'protection taken out':50} {'test':58} it", flush=True)
    with checks.server() as dsn:
        for protection, name, text, instead, test in chosen:
            began, path = time.monotonic(), tree / name
            source = path.read_text()
            if source.count(text) != 1:
                verdict = f"IS NOT THERE ANY MORE in {name}: {text!r}"
            elif (whole := passes(tree, dsn, test)) != "passed":
                verdict = f"FAILS WITHOUT A MUTATION: {whole}"
            else:
                path.write_text(source.replace(text, instead))
                verdict = {"failed": "failed as it should", "passed": "SURVIVED"}.get(
                    end := passes(tree, dsn, test), end
                )
                path.write_text(source)
            survived += verdict != "failed as it should"
            print(f"{protection:50} {test:58} {verdict}  {time.monotonic() - began:.0f} s", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
