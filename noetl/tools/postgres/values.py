"""Values on their way into Postgres and out of it, as text in both directions.

In: numbers as SQL's own literals (`5` is an integer, `1.5` a numeric), text without a type (Postgres finds it as for
a quoted literal), mappings and lists as jsonb; a list as an array where Postgres expects one. Out: see `sql.values`.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
from psycopg import Connection, adapters, generators, postgres
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from noetl.tools.base import InvalidCall
from noetl.tools.exact_json import exact_json
from noetl.tools.sql.bind import check_text
from noetl.tools.sql.values import iso_moment, number, real

_BOOL, _INT4, _INT8, _NUMERIC, _JSONB = 16, 23, 20, 1700, 3802
_IS_ARRAY: Final = "SELECT typcategory = 'A' FROM pg_catalog.pg_type WHERE oid = $1"

Value = tuple[int, bytes | None]
"""The oid of a type, 0 where Postgres is to find it, and a value as that type's text."""


# ---- in --------------------------------------------------------------------------------------------------------------


def dump(place: str, value: object) -> Value:
    """Return a JSON value as a parameter. `place` is what errors call it. Raises `InvalidCall`."""
    match value:
        case None:
            return 0, None
        case bool():
            return _BOOL, b"t" if value else b"f"
        case int():
            small = -(2**31) <= value < 2**31
            return _INT4 if small else _INT8 if -(2**63) <= value < 2**63 else _NUMERIC, str(value).encode()
        case float():
            return _NUMERIC, repr(value).encode()
        case str():
            check_text(place, value)
            return 0, value.encode()
        case _:
            return _JSONB, dump_json(place, value)


def dump_json(place: str, value: object) -> bytes:
    """Return a value as JSON text that jsonb takes. Raises `InvalidCall`."""
    try:
        text = orjson.dumps(value, default=dict)
    except TypeError as failure:
        raise InvalidCall(f"{place} cannot be written as JSON: {failure}") from None
    if b"\\u0000" in text:
        _check_texts(place, value)
    return text


def _check_texts(place: str, value: object) -> None:
    if isinstance(value, str):
        check_text(place, value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            check_text(f"a key of {place}", key)
            _check_texts(f"{place}.{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_texts(f"{place}[{index}]", item)


def dump_array(place: str, value: Sequence[object]) -> bytes:
    """Return a list as the text of an array. Raises `InvalidCall`."""
    items: list[bytes] = []
    for index, item in enumerate(value):
        if isinstance(item, list):
            items.append(dump_array(f"{place}[{index}]", item))
        else:
            text = dump(f"{place}[{index}]", item)[1]
            quoted = None if text is None else b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
            items.append(b"NULL" if quoted is None else quoted)
    return b"{" + b",".join(items) + b"}"


def parameters(conn: Connection[Any], query: bytes, values: Sequence[Any]) -> list[Value]:
    """Return the values of a query as parameters. Raises `InvalidCall`, and what Postgres says of the query.

    Postgres is asked for the expected types only where there is a list: one round trip, two for a rare type.
    """
    dumped = [dump(f"the value of ${place}", value) for place, value in enumerate(values, 1)]
    lists = [place for place, value in enumerate(values) if isinstance(value, list)]
    if not lists:
        return dumped
    expected = _expected(conn, query, [0 if place in lists else oid for place, (oid, _) in enumerate(dumped)])
    for place in lists:
        oid = expected[place]
        if oid not in (0, _JSONB, 114) and _is_array(conn, oid):
            dumped[place] = (oid, dump_array(f"the value of ${place + 1}", values[place]))
    return dumped


def _expected(conn: Connection[Any], query: bytes, types: list[int]) -> list[int]:
    """Return the type of each parameter, as Postgres reads the query; 0 where it cannot tell."""
    conn.pgconn.send_prepare(b"", query, types)
    for result in conn.wait(generators.execute(conn.pgconn)):
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result, encoding="utf-8")
    conn.pgconn.send_describe_prepared(b"")
    described = conn.wait(generators.execute(conn.pgconn))[0]
    return [described.param_type(place) for place in range(described.nparams)]


def _is_array(conn: Connection[Any], oid: int) -> bool:
    known = postgres.types.get(oid)
    if known is not None:
        return known.array_oid == oid
    conn.pgconn.send_query_params(_IS_ARRAY.encode(), [str(oid).encode()])
    result = conn.wait(generators.execute(conn.pgconn))[0]
    return bool(result.status == ExecStatus.TUPLES_OK and result.get_value(0, 0) == b"t")


# ---- out -------------------------------------------------------------------------------------------------------------


def _loader(convert: Callable[[bytes], Any]) -> type[Loader]:
    class Plain(Loader):
        def load(self, data: Buffer) -> Any:
            return convert(bytes(data))

    return Plain


def _text(data: bytes) -> str:
    return data.decode()


def _float(data: bytes) -> float | str:
    return real(float(data))


def _bytes(data: bytes) -> str:
    if data.startswith(b"\\x"):
        return base64.b64encode(bytes.fromhex(data[2:].decode())).decode()
    return data.decode()  # the SQL has set bytea_output


def _moment(data: bytes) -> str:
    return iso_moment(data.decode())


def make_adapters() -> AdaptersMap:
    """Return adapters that read columns as plain JSON types, all other types as the text that Postgres writes."""
    own_adapters = AdaptersMap(adapters)
    kept = {"bool", "int2", "int4", "int8", "oid"}
    special: dict[str, Callable[[bytes], Any]] = {
        "float4": _float,
        "float8": _float,
        "numeric": lambda data: number(data.decode()),
        "json": exact_json,
        "jsonb": exact_json,
        "bytea": _bytes,
        "timestamp": _moment,
        "timestamptz": _moment,
        "timetz": _moment,
    }
    for info in postgres.types:
        if info.name not in kept:
            own_adapters.register_loader(info.oid, _loader(special.get(info.name, _text)))
    return own_adapters
