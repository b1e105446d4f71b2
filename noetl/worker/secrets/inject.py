"""The injection of secrets into a call, right before it is made: references become values, `auth` becomes credentials.

All of this happens in a thread of the call's own, since it may wait for the database or a cloud; only calls that have
secrets take that way. Rendering has seen references only, so no error of a template can show a value. What was put
in goes along as `Call.secrets`, and is masked in whatever comes back.
"""

import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from noetl.calls import Call
from noetl.database.credentials import Credential
from noetl.errors import DatabaseError, InputError
from noetl.orchestrator.attempt import SAVE_KEY_SUFFIX
from noetl.orchestrator.execution_cache import CachedExecution
from noetl.outcomes import Done, Failed, error_value
from noetl.playbook.credential_types import check_fields, check_type, secret_values
from noetl.playbook.step_types import STEP_TYPES
from noetl.playbook.suggest import did_you_mean
from noetl.playbook.templates.secret_references import REFERENCE, REFERENCE_MARK, inside_json, source_of
from noetl.rules.choices import SECRET_PROVIDERS
from noetl.rules.text import storable
from noetl.tools.clouds.service import CloudError
from noetl.tools.masking import mask_of
from noetl.worker.answers import First, NotBegun
from noetl.worker.secrets.seals import Fetch, Seals, holds_reference
from noetl.worker.secrets.sources import Sources, credential_value, part_of

log = logging.getLogger("noetl.worker")

SECRETS_TYPE: Final = "secrets"
"""The type of steps that fetch a secret."""

_MAX_DEPTH: Final = 5
"""How many secrets may be needed to fetch a secret."""

_RETRY_SECONDS: Final = 0.5
"""Seconds before a call is tried again because the database did not answer."""


class Secrets:
    """Secrets for the calls of one worker. `of` belongs to the worker loop, the functions it returns to any thread."""

    def __init__(self, sources: Sources, seals: Seals) -> None:
        self._sources = sources
        self._seals = seals

    def of(self, execution: CachedExecution, call: Call) -> First | None:
        """Return the function that puts secrets into a call before it is made, None where it has none."""
        may_have = execution.playbook.secrets or execution.parent_execution_id is not None
        if call.named_auth is None and not may_have:
            return None
        logs_in = call.named_auth is not None or call.type == SECRETS_TYPE
        if not (logs_in or holds_reference(call.fields) or holds_reference(call.args)):
            return None
        root = execution.root_execution_id
        return lambda call: self._first(call, root)

    def close(self) -> None:
        """Let go of connections."""
        self._sources.close()

    def _first(self, call: Call, root: int) -> Call | Done | Failed | NotBegun:
        """Return the call with its secrets, or the answer to it where they cannot be had."""
        lookup = _Lookup(self._sources, self._seals, root, call.key.removesuffix(SAVE_KEY_SUFFIX))
        try:
            if call.type == SECRETS_TYPE:
                return self._step(lookup, call, root)
            fields, args = lookup.put_in(call.fields), lookup.put_in(call.args)
            logins = lookup.logins(call.named_auth, call.type)
            return replace(call, fields=fields, args=args, auth=logins, secrets=tuple(lookup.used))
        except DatabaseError as problem:
            log.warning("%s: the database does not answer (%s): trying again", call.where, problem)
            time.sleep(_RETRY_SECONDS)
            return NotBegun()
        except CloudError as problem:
            failed = error_value(SECRETS_TYPE, storable(f"{call.where}: {problem}"), retryable=problem.retryable)
        except InputError as problem:
            failed = error_value("validation", storable(f"{call.where}: {problem}"))
        return mask_of((*lookup.used, *lookup.asked)).answer(Failed(failed))

    def _step(self, lookup: "_Lookup", call: Call, root: int) -> Done:
        """Fetch a secret for a step of this type; its result names it and holds the reference."""
        fields = {name: value for name, value in call.fields.items() if value is not None}
        fetch = _fetch(fields, call.named_auth)
        _, version = lookup.fetched(fetch)
        pinned = replace(fetch, version=version) if fetch.provider in ("google", "aws") else fetch
        result = {
            "secret_value": self._seals.seal(pinned, root, lookup.bound),
            "version": version,
            "provider": fetch.provider,
        }
        return Done(orjson.dumps(result))


def _fetch(fields: Mapping[str, object], auth: object) -> Fetch:
    """Return the secret that a step of type secrets asks for. Raises `InputError`."""
    asked: dict[str, str] = {}
    for name in ("provider", "name", "version", "project", "region", "field"):
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and name == "version":
            value = str(value)
        if value is not None and (not isinstance(value, str) or REFERENCE_MARK in value):
            raise InputError(f"{name} must be text, and no secret")
        if value:
            asked[name] = value
    for name in ("provider", "name"):
        if name not in asked:
            raise InputError(f"{name} is empty: a step of type secrets needs it")
    return Fetch(**{**asked, "provider": asked["provider"].lower()}, auth=auth)


@dataclass(slots=True)
class _Lookup:
    """The look-ups of one call. `used`: the values it is given, to be masked; `asked`: those with which they were
    fetched, which only an error could show."""

    sources: Sources
    seals: Seals
    root: int
    bound: str  # the key of the step run: `secret()` is good for that one
    depth: int = 0
    used: dict[str, None] = field(default_factory=dict)
    asked: dict[str, None] = field(default_factory=dict)

    # ---- references ----------------------------------------------------------------------------------------------

    def put_in(self, value: object) -> Any:
        """Return a value with the references in its texts replaced. Text that is no reference of ours stays."""
        if isinstance(value, str):
            return self._put_into_text(value) if REFERENCE_MARK in value else value
        if isinstance(value, Mapping):
            return {name: self.put_in(item) for name, item in value.items()}
        return [self.put_in(item) for item in value] if isinstance(value, list) else value

    def _put_into_text(self, text: str) -> Any:
        sole = REFERENCE.fullmatch(text)
        if sole and not sole[2]:
            value = self._value(sole[1])
            return text if value is _NO_REFERENCE else value
        return REFERENCE.sub(self._as_text, text)

    def _as_text(self, reference: re.Match[str]) -> str:
        value = self._value(reference[1])
        if value is _NO_REFERENCE:
            return reference[0]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for _ in range(reference[2].count("+json")):
            text = inside_json(text)
        return text

    def _value(self, body: str) -> Any:
        source = source_of(body, self.bound)
        if source is not None:
            return self._use(self.sources.value(source))
        fetch = self.seals.open(body, self.root, self.bound)
        return _NO_REFERENCE if fetch is None else self.fetched(fetch)[0]

    def fetched(self, fetch: Fetch) -> tuple[Any, str | None]:
        """Return a secret, and the version that it is where its provider has versions."""
        if self.depth >= _MAX_DEPTH:
            raise InputError(f"more than {_MAX_DEPTH} secrets are needed to fetch the secret {fetch.name!r}")
        value, version = self._fetch(fetch)
        self._use(value)
        if fetch.field is not None and fetch.provider != "credential":
            value = self._use(part_of(value, fetch.field, f"the secret {fetch.name!r}"))
        return value, version

    def _fetch(self, fetch: Fetch) -> tuple[Any, str | None]:
        provider, name, sources = fetch.provider, fetch.name, self.sources
        if fetch.auth is not None and provider not in ("google", "aws"):
            raise InputError(f"the provider {provider} needs no auth: leave it out")
        if provider == "env":
            return sources.variable(name), None
        if provider == "file":
            return sources.file(name), None
        if provider == "credential":
            return credential_value(sources.credential(name), fetch.field or ""), None
        login = None if fetch.auth is None else self._login_to_fetch(fetch.auth)
        if provider == "google":
            secret = sources.google(name, fetch.version, fetch.project, login)
        elif provider == "aws":
            secret = sources.aws(name, fetch.version, fetch.region, login)
        else:
            hint = did_you_mean(provider, SECRET_PROVIDERS) or f": {', '.join(SECRET_PROVIDERS)}"
            raise InputError(f"unknown provider {provider!r}{hint}")
        return secret.value, secret.version

    def _login_to_fetch(self, auth: object) -> Mapping[str, Any]:
        inner = _Lookup(self.sources, self.seals, self.root, self.bound, self.depth + 1)
        try:
            return inner.logins(auth, SECRETS_TYPE)[""]
        finally:
            self.asked |= {**inner.used, **inner.asked}

    def _use(self, value: object) -> Any:
        """Remember a value, and the texts in it, as secret."""
        if isinstance(value, Mapping):
            for item in value.values():
                self._use(item)
        elif isinstance(value, list):
            for item in value:
                self._use(item)
        elif value is not None and not isinstance(value, bool):
            self.used[value if isinstance(value, str) else repr(value)] = None
        return value

    # ---- auth ----------------------------------------------------------------------------------------------------

    def logins(self, auth: object, tool: str) -> dict[str, Mapping[str, Any]]:
        """Return the credentials of `auth` by alias; of a single one the alias is empty. Raises `InputError`."""
        if auth is None:
            return {}
        if isinstance(auth, str) or (isinstance(auth, Mapping) and auth.keys() & {"type", "key"}):
            return {"": self._login(auth, tool, "auth")}
        if not isinstance(auth, Mapping):
            raise InputError(f"auth is a {type(auth).__name__}: it must be the name of a credential, or a mapping")
        if not STEP_TYPES[tool].aliases:
            raise InputError(f"auth has no type: a step of type {tool} takes one credential, by name or with a type")
        return {alias: self._login(each, tool, f"auth.{alias}") for alias, each in auth.items()}

    def _login(self, entry: object, tool: str, place: str) -> Mapping[str, Any]:
        if isinstance(entry, str):
            return self._stored(entry, None, tool, place)
        if not isinstance(entry, Mapping):
            raise InputError(f"{place} is a {type(entry).__name__}: it must be the name of a credential, or a mapping")
        type_ = None if entry.get("type") is None else check_type(entry["type"])
        if entry.get("key") is not None:
            if entry.keys() - {"type", "key"}:
                raise InputError(f"{place} has a key, so all else comes from that credential: leave the rest out")
            return self._stored(entry["key"], type_, tool, place)
        if type_ is None:
            raise InputError(f"{place} has no type: say what it is, or name a credential by 'key'")
        inline = self.put_in({name: value for name, value in entry.items() if name != "type"})
        return self._checked(Credential("", type_, check_fields(type_, inline)), tool, place)

    def _stored(self, name: object, type_: str | None, tool: str, place: str) -> Mapping[str, Any]:
        if not isinstance(name, str) or REFERENCE_MARK in name:
            raise InputError(f"{place} names no credential: a secret's value cannot be a name")
        credential = self.sources.credential(name)
        if type_ is not None and credential.type != type_:
            raise InputError(f"{place}: the credential {name!r} is of type {credential.type}, not {type_}")
        return self._checked(credential, tool, place)

    def _checked(self, credential: Credential, tool: str, place: str) -> Mapping[str, Any]:
        takes = STEP_TYPES[tool].credentials
        if credential.type not in takes:
            named = f" {credential.name!r}" if credential.name else ""
            raise InputError(
                f"{place}: the credential{named} is of type {credential.type}, but a step of type {tool} takes"
                f" {' or '.join(takes) or 'none'}"
            )
        self._use(secret_values(credential.type, credential.fields))
        return {**credential.fields, "type": credential.type}


_NO_REFERENCE: Final[Any] = object()
"""Stands for text that only looks like a reference."""
