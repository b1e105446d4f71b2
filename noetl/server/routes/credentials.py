"""Credentials over HTTP: values go in, and come out only where a setting allows it."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from noetl.database import credentials
from noetl.database.credentials import Credential, Sealed
from noetl.database.keys import CREDENTIAL
from noetl.database.paging import plain_row
from noetl.errors import Conflict, NotFound
from noetl.playbook.credential_types import check_fields, check_name, check_type
from noetl.playbook.suggest import did_you_mean
from noetl.server.reads import page_of
from noetl.server.routes import answers
from noetl.server.routes.bodies import CredentialBody, Text
from noetl.server.routes.parameters import After, CurrentService, Filter, Limit
from noetl.server.service import answer

log = logging.getLogger("noetl.server")

MASKED_VALUE = "***"
Reveal = Annotated[bool, Query(description="show the values; only where NOETL_CREDENTIAL_REVEAL is true")]

router = APIRouter(prefix="/api/credentials", tags=["credentials"])


@router.post("", status_code=201, response_model=answers.StoredCredentialAnswer)
def add_credential(service: CurrentService, body: CredentialBody) -> Response:
    """Store a credential, encrypted. A name that is taken is refused, unless `replace` is true (200 then)."""
    name, type_ = check_name(body.name), check_type(body.type)
    new = Credential(name, type_, check_fields(type_, body.fields), body.description)
    keys = service.keys.encrypting(CREDENTIAL)
    with service.session() as conn:
        created = credentials.add_credential(conn, new, keys, replace=body.replace)
    return answer({"name": name, "type": type_, "created": created}, 201 if created else 200)


@router.get("", response_model=answers.PageAnswer)
def list_credentials(
    service: CurrentService, type: Filter = None, after: After = None, limit: Limit = None
) -> Response:
    """List the credentials by name, without their values."""
    with service.session() as conn:
        page = credentials.list_credentials(conn, type=type, after=after, limit=limit)
    return answer(page_of(page))


@router.post("/rotate", response_model=answers.RotatedAnswer)
def rotate_credentials(service: CurrentService) -> Response:
    """Encrypt all credentials anew with the first key, all or none."""
    keys = service.keys.encrypting(CREDENTIAL)
    with service.session() as conn:
        count = credentials.rotate_credentials(conn, keys, service.keys.advice)
    return answer({"rotated": count, "key_id": keys.first})


@router.get("/{name}", response_model=answers.CredentialAnswer)
def show_credential(service: CurrentService, name: Text, reveal: Reveal = False) -> Response:
    """Show a credential, its values masked."""
    if reveal and not service.settings.credential_reveal:
        raise Conflict("values of credentials are not shown: NOETL_CREDENTIAL_REVEAL=true of the server would allow it")
    with service.session() as conn:
        sealed = credentials.find_credential(conn, name)
        names = [] if sealed is not None else credentials.credential_names(conn)
    if sealed is None:
        raise NotFound(f"there is no credential {name!r}{did_you_mean(name, names) or ': noetl credential list'}")
    fields = sealed.open(service.keys.decrypting(CREDENTIAL), service.keys.advice).fields
    if reveal:
        log.warning("the values of the credential %r were shown", name)
    return answer(_shown(sealed, dict(fields) if reveal else dict.fromkeys(fields, MASKED_VALUE)))


@router.delete("/{name}", response_model=answers.RemovedCredentialAnswer)
def remove_credential(service: CurrentService, name: Text) -> Response:
    """Remove a credential."""
    with service.session() as conn:
        credentials.remove_credential(conn, name)
    return answer({"name": name})


def _shown(sealed: Sealed, fields: dict[str, Any]) -> dict[str, Any]:
    about = plain_row({"created_at": sealed.created_at, "updated_at": sealed.updated_at})
    return {
        "name": sealed.name,
        "type": sealed.type,
        "key_id": sealed.key_id,
        "description": sealed.description,
        **about,
        "fields": fields,
    }
