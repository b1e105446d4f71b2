"""Files that tools keep of an execution go a day after its end, and no others."""

from pathlib import Path

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from noetl.worker.maintenance.execution_files import KEPT_SECONDS, executions_with_files, files_folder, remove_files
from tests.support.waiting import wait_for
from tests.support.working import Engine, working

PLAYBOOK = """apiVersion: noetl.io/v1
kind: Playbook
metadata: {path: kept}
workflow:
  - {step: start, type: duckdb, command: "CREATE TABLE t (n int)", next: [end]}
  - {step: end, result: done}
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_worker_removes_the_files_of_executions_that_ended_long_ago(
    settings: Settings, admin: Database, engine: Engine
) -> None:
    engine.register(PLAYBOOK)
    with working(settings):
        old, young = engine.start("kept"), engine.start("kept")
        assert {engine.wait(old), engine.wait(young)} == {"completed"}
    folder = files_folder(settings.home)
    (folder / "7.duckdb").touch()  # of an execution that this database does not know
    (folder / "notes.txt").touch()
    assert names(folder) == {f"{old}.duckdb", f"{young}.duckdb", "7.duckdb", "notes.txt"}
    with admin.session() as conn:
        conn.execute(
            "UPDATE execution SET finished_at = finished_at - %s * interval '1 second' WHERE execution_id = %s",
            [KEPT_SECONDS, old],
        )
    with working(settings):
        wait_for(lambda: f"{old}.duckdb" not in names(folder))
    assert names(folder) == {f"{young}.duckdb", "7.duckdb", "notes.txt"}


def test_what_stands_beside_a_file_goes_with_it(tmp_path: Path) -> None:
    (tmp_path / "12.duckdb.tmp").mkdir()
    for name in ("12.duckdb", "12.duckdb.wal", "12.duckdb.tmp/spill", "123.duckdb", "1.duckdb"):
        (tmp_path / name).touch()
    assert executions_with_files(tmp_path, 100) == {1, 12, 123}
    assert len(executions_with_files(tmp_path, 2)) <= 2
    remove_files(tmp_path, [12, 5])
    assert names(tmp_path) == {"123.duckdb", "1.duckdb"}
    assert executions_with_files(tmp_path / "nowhere", 100) == set()
