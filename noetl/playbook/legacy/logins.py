"""Older spellings of logins: `auth` in its earlier forms, and `db_host ... db_name` among the arguments."""

from collections.abc import Collection, Iterable

from noetl.playbook.legacy import words
from noetl.playbook.legacy.tree import Draft, inside, mapping, text
from noetl.playbook.lint.codes import Code
from noetl.playbook.templates.template import is_template
from noetl.playbook.yaml.tree import Node


def logins(owner: Draft, *, several: bool = True) -> None:
    """Rewrite `auth`: one login, or a map of aliases; an only alias is taken off where the tool takes one login."""
    if not several:
        _only_alias(owner)
    inside(owner, "auth", _login)


def _only_alias(owner: Draft) -> None:
    """Put `auth: {db: {type: postgres, key: c}}` as `auth: {type: postgres, key: c}`."""
    node = owner.get("auth")
    if node is None or node.kind != "mapping" or len(node.value) != 1 or node.value.keys() & {"type", "key"}:
        return
    ((alias, inner),) = node.value.items()
    if inner.kind == "mapping":
        place = node.keys[alias]
        owner.notes.hint(place, f"write the login itself as 'auth' instead of calling it {alias!r}")
        owner.put("auth", inner, owner.key("auth"))


def _login(login: Draft) -> None:
    _one_login(login)
    if "type" in login or "key" in login:
        return
    for alias in login:
        value = login.get(alias)
        assert value is not None
        inner = Draft(login.notes, value, alias) if value.kind == "mapping" else None
        name = inner.word("secret_name") if inner is not None and "key" in inner else ""
        inside(login, alias, _one_login)
        if name not in ("", alias):
            login.rename({alias: name})


def _one_login(login: Draft) -> None:
    """Rewrite the keys of one login, and leave out what says nothing beside a `key`."""
    login.rename(words.AUTH_INSIDE)
    login.rename_value("type", words.AUTH_TYPES)
    stored = login.word("source") == words.CREDENTIAL
    if "key" not in login and ("type" in login or stored):
        login.rename({"secret_name": "key"})
    if "key" not in login:
        return
    if "secret_name" in login:
        login.leave_out("secret_name", "DuckDB knows a login by its alias")
    for name, reason in words.AUTH_IDLE.items():
        if name in login and (name != "source" or stored):
            login.leave_out(name, reason)


def database_in_args(step: Draft, task: Node | None = None) -> None:
    """Make `auth` of the `db_host ... db_name` among the arguments of a postgres step, or of one with such a task.

    Those that an `auth` reads by templates are what they look like, arguments; those that the rest of the step or task
    reads are kept beside the login.
    """
    args = step.get("args")
    if args is None or args.kind != "mapping" or words.DATABASE.keys().isdisjoint(args.value):
        return
    inner = Draft(step.notes, args, f"args of {step.label}")
    logins_of = [node.value["auth"] for node in (step.done(), task) if node is not None and "auth" in node.value]
    fed = _read(words.DATABASE, logins_of)
    kept = _read(words.DATABASE, [value for node in (step.done(), task) if node is not None
                                  for name, value in node.value.items() if name not in ("args", "code")])  # fmt: skip
    inherited = task.value.get("auth") if task is not None else None
    database(step, inner, fed=fed, kept=kept, inherited=inherited)
    if inner.done() is args:
        return
    if len(inner):
        step.put("args", inner.done(), step.key("args"))
    else:
        step.take("args")


def _read(names: Collection[str], nodes: Iterable[Node]) -> set[str]:
    """Return those of the names that the templates in some values read."""
    texts = [node.value for value in nodes for node in value.texts() if is_template(node.value)]
    return {name for name in names if any(name in text for text in texts)}


def database(
    owner: Draft,
    holder: Draft,
    *,
    fed: Collection[str] = (),
    kept: Collection[str] = (),
    inherited: Node | None = None,
) -> None:
    """Make `auth` of an owner from the `db_host ... db_name` that a mapping holds.

    `fed`: names that an `auth` reads, which stay where they are; `kept`: names that stay there, too; `inherited`: the
    `auth` of the owner's task, whose fields are taken over.
    """
    fields = [name for name in words.DATABASE if name in holder and name not in fed]
    if "auth" in owner:
        fields = [name for name in fields if name not in kept]
    if not fields:
        return
    place = holder.key(fields[0])
    if "auth" in owner:
        owner.notes.error(place, Code.UNKNOWN_KEY, f"{owner.label} has both 'auth' and {fields[0]!r}: leave one out")
    else:
        owner.notes.hint(place, f"write 'auth' with a credential instead of {', '.join(map(repr, fields))}")
    taken = {words.DATABASE[name]: holder.look(name) if name in kept else holder.take(name) for name in fields}
    if "auth" in owner:
        return
    values, keys = {"type": text(place, "postgres")}, {"type": place}
    if (
        inherited is not None
        and inherited.kind == "mapping"
        and "type" in inherited.value
        and "key" not in inherited.value
    ):
        values, keys = dict(inherited.value), dict(inherited.keys)
    values |= {name: value for name, (_, value) in taken.items()}
    keys |= {name: key for name, (key, _) in taken.items()}
    owner.put("auth", mapping(place, values, keys), place)
