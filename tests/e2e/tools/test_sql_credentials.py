"""SQL steps reach databases by the names of credentials: postgres, duckdb and save, in one playbook."""

from collections.abc import Callable

from psycopg.conninfo import conninfo_to_dict

from noetl.database.connection.connect import Database
from noetl.settings import Settings
from tests.support.playbooks import Lab
from tests.support.vault import Vault
from tests.support.working import working

PLAYBOOK = """
- step: start
  type: postgres
  auth: shop
  command: CREATE TABLE sale (id int PRIMARY KEY, amount numeric); INSERT INTO sale VALUES (1, 2.5), (2, 4)
  next: [{step: sum}]
- step: sum
  type: duckdb
  auth: {src: shop}
  command: SELECT sum(amount)::double AS amount FROM src.public.sale
  next: [{step: keep}]
- step: keep
  type: save
  storage: postgres
  auth: {type: postgres, key: shop}
  table: public.sale
  data: {id: 3, amount: "{{ sum.command_0.rows[0].amount }}"}
  next: [{step: read}]
- step: read
  type: postgres
  auth: "{{ workload.credential }}"
  command: SELECT current_database() AS name, sum(amount) AS amount FROM sale
  next: [{step: end}]
- step: end
  result: "{{ read.command_0.rows[0] }}"
"""


def test_one_credential_serves_all_tools(
    database: Database, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    parts = conninfo_to_dict(str(make_settings(with_schema=False).database_url))
    vault = Vault(database, settings)
    vault.put(
        "shop", "postgres", host=parts["host"], database=parts["dbname"], user=parts["user"], password="hush-hush"
    )
    lab = Lab(database, vault.settings)
    with working(vault.settings):
        ended = lab.run(PLAYBOOK, payload={"credential": "shop"})
    assert ended.status == "completed", ended.error
    assert ended.result == {"name": parts["dbname"], "amount": 13}
