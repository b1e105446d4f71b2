"""Readers for the values of types that a database defines itself.

Enums, domains, composites and arrays of them have oids that only their database knows. Their columns come as text while
rows stream; when the command is over, the connection is asked once for its types, and the texts become lists, mappings
and values of the base types.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
from psycopg import Connection, generators, postgres
from psycopg.abc import Transformer as AbstractTransformer
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from noetl.tools.sql.values import TextReader

_FIND_TYPES: Final = """
WITH RECURSIVE type AS (
    SELECT * FROM pg_catalog.pg_type WHERE oid = ANY($1::pg_catalog.oid[])
    UNION
    SELECT inner_type.* FROM type CROSS JOIN LATERAL (
        SELECT type.typelem WHERE type.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc
        UNION ALL SELECT type.typbasetype WHERE type.typtype = 'd'
        UNION ALL SELECT atttypid FROM pg_catalog.pg_attribute
                   WHERE type.typtype = 'c' AND attrelid = type.typrelid AND attnum > 0 AND NOT attisdropped
    ) AS part (oid) JOIN pg_catalog.pg_type AS inner_type ON inner_type.oid = part.oid
)
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
    oid::bigint, typtype, typbasetype::bigint, typdelim,
    CASE WHEN typoutput = 'pg_catalog.array_out'::pg_catalog.regproc THEN typelem::bigint END,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(attname, atttypid::bigint) ORDER BY attnum)
       FROM pg_catalog.pg_attribute
      WHERE typtype = 'c' AND attrelid = typrelid AND attnum > 0 AND NOT attisdropped)))
  FROM type
"""
"""The types of $1 and all that they consist of. Domains are told by their base type where they are a column of their
own, so they are found within arrays and composites only. Oids are numbers: JSON of an oid would be text."""

_ARRAY_ITEM: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^"\\]|\\.)', re.DOTALL)
_ESCAPED_CHARACTER: Final = re.compile(r"\\(.)", re.DOTALL)
_ROW_FIELD: Final = re.compile(r'"((?:[^"\\]|\\.|"")*)"|([^",()]*)', re.DOTALL)
_DOUBLED_SIGN: Final = re.compile(r'\\(.)|"(")', re.DOTALL)


def unknown(result: PGresult) -> dict[int, int]:
    """Return the types of a result's columns that only its database knows, by place."""
    types = {place: result.ftype(place) for place in range(result.nfields)}
    return {place: oid for place, oid in types.items() if postgres.types.get(oid) is None}


def readers(conn: Connection[Any], types: Mapping[int, int]) -> dict[int, TextReader]:
    """Return readers for the columns that `unknown` found, without those whose text is the value.

    Raises `psycopg.Error`.
    """
    oids = "{" + ",".join(map(str, sorted(set(types.values())))) + "}"
    conn.pgconn.send_query_params(_FIND_TYPES.encode(), [oids.encode()])
    (result,) = conn.wait(generators.execute(conn.pgconn))
    if result.status != ExecStatus.TUPLES_OK:
        raise error_from_result(result, encoding="utf-8")
    catalog = {oid: row for oid, *row in orjson.loads(result.get_value(0, 0) or b"[]")}
    readers_of_types = _Readers(Transformer(conn), catalog)
    readers_by_place = {place: readers_of_types.reader(oid) for place, oid in types.items()}
    return {place: reader for place, reader in readers_by_place.items() if reader is not str}


class _Readers:
    """Readers of types, made from the rows of the catalog: kind, base type, delimiter, element, fields."""

    def __init__(self, transformer: AbstractTransformer, catalog: Mapping[int, list[Any]]) -> None:
        self._transformer = transformer
        self._catalog = catalog

    def reader(self, oid: int) -> TextReader:
        """Return the reader of a type; `str` where its text is its value."""
        if postgres.types.get(oid) is not None:
            load = self._transformer.get_loader(oid, Format.TEXT).load
            return lambda text: load(text.encode())
        kind, base, _, element, fields = self._catalog.get(oid, ("", 0, "", None, None))
        if element:
            return self._list(element)
        if kind == "d":
            return self.reader(base)
        if kind == "c":
            return _mapping([(name, self.reader(type_)) for name, type_ in fields or ()])
        return str

    def _list(self, element: int) -> TextReader:
        read = self.reader(element)
        known = postgres.types.get(element)
        delimiter = known.delimiter if known is not None else self._catalog[element][2]
        return lambda text: _items(text, delimiter, read)


def _items(text: str, delimiter: str, read: TextReader) -> list[Any]:
    """Return the items of an array's text: {a,"b, c",NULL,{...}}, perhaps after its bounds: [0:1]={...}."""
    top: list[Any] = []
    open_lists = [top]
    bare, begins = "", text.index("{")

    def add(item: object) -> None:
        open_lists[-1].append(item)

    for quoted, sign in _ARRAY_ITEM.findall(text[begins:]):
        if sign in ("{", "}", delimiter):
            if bare:
                add(None if bare == "NULL" else read(bare))
                bare = ""
            if sign == "{":
                inner: list[Any] = []
                add(inner)
                open_lists.append(inner)
            elif sign == "}":
                open_lists.pop()
        elif sign:
            bare += sign
        else:
            add(read(_ESCAPED_CHARACTER.sub(r"\1", quoted)))
    items: list[Any] = top[0]
    return items


def _mapping(fields: list[tuple[str, TextReader]]) -> TextReader:
    def read(text: str) -> dict[str, Any]:
        mapping, place = {}, 1
        for name, read_field in fields:
            part = _ROW_FIELD.match(text, place)
            assert part is not None  # the pattern matches an empty field, too
            quoted, bare = part.groups()
            text_of_field = bare or None if quoted is None else _DOUBLED_SIGN.sub(r"\1\2", quoted)
            mapping[name] = None if text_of_field is None else read_field(text_of_field)
            place = part.end() + 1
        return mapping

    return read
