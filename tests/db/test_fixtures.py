"""The fixtures themselves."""

import pytest

from noetl.database.connection.connect import Database


@pytest.mark.parametrize("round", range(2))
def test_each_test_has_a_database_of_its_own(database: Database, round: int) -> None:
    """What one test commits, the next does not see."""
    with database.session() as conn:
        assert conn.execute("SELECT count(*) FROM runtime").fetchone() == (0,)
        conn.execute("INSERT INTO runtime (runtime_id, kind) VALUES ('one', 'worker')")


def test_the_runtime_login_is_not_the_administrator(database: Database, admin: Database) -> None:
    """`database` works as NOETL_USER, `admin` as the superuser."""
    with database.session() as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("noetl",)
    with admin.session() as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("postgres",)
