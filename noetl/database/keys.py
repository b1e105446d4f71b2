"""The encryption keys: from the setting, or in embedded mode from a file of this home's own.

From each key one is derived per purpose, so that what is made for one cannot be taken for another. The first key
encrypts, all decrypt; a key's id is a part of its hash, which tells keys apart and says nothing about them.
"""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from noetl.errors import InputError, SettingsError
from noetl.home.files import make_home
from noetl.settings import Settings, encryption_keys

FILE: Final = "encryption.key"
CREDENTIAL: Final = "credential"
REFERENCE: Final = "reference"
"""Purposes of keys."""

_NONCE: Final = 12
_VERSION: Final = b"\x01"


class Undecryptable(InputError):
    """What was encrypted cannot be decrypted: the key is not here, or the data was changed."""


class Keyring:
    """Keys by their ids, for one purpose: AES-GCM with 256 bits."""

    def __init__(self, keys: Sequence[bytes], purpose: str) -> None:
        self._keys: Mapping[str, bytes] = {key_id(key): _derived(key, purpose) for key in keys}

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys) or 'empty'})"

    @property
    def first(self) -> str:
        """Return the id of the key that encrypts."""
        return next(iter(self._keys))

    def encrypt(self, plain: bytes, bound: str) -> tuple[str, bytes]:
        """Return the key's id and the encrypted data, which decrypts only with the same `bound`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE)
        return self.first, _VERSION + nonce + AESGCM(self._keys[self.first]).encrypt(nonce, plain, bound.encode())

    def decrypt(self, key: str, data: bytes, bound: str) -> bytes:
        """Return what was encrypted. Raises `Undecryptable`."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        secret = self._keys.get(key)
        if secret is None:
            here = ", ".join(self._keys) or "none"
            raise Undecryptable(f"it was encrypted with the key {key!r}, which is not here (here: {here})")
        if data[:1] != _VERSION or len(data) < 1 + _NONCE + 16:
            raise Undecryptable("its data is damaged")
        try:
            return AESGCM(secret).decrypt(data[1 : 1 + _NONCE], data[1 + _NONCE :], bound.encode())
        except InvalidTag:
            raise Undecryptable("its data was changed, or belongs to another name or type") from None


class Keys:
    """The keys of one process, read when they are first needed. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: tuple[bytes, ...] = ()

    def encrypting(self, purpose: str) -> Keyring:
        """Return a keyring that can encrypt; in embedded mode the key is made where there is none.

        Raises `SettingsError` where no key is set, or what is set is none.
        """
        keys = self._read() or self._make()
        return Keyring(keys, purpose)

    def decrypting(self, purpose: str) -> Keyring:
        """Return a keyring that knows the keys there are, perhaps none. Raises `SettingsError` for what is no key."""
        return Keyring(self._read(), purpose)

    @property
    def advice(self) -> str:
        """Return where a missing key belongs."""
        if self._settings.embedded and not self._settings.encryption_key:
            return f"its key belongs into {self._settings.home / FILE}"
        return "add the key to NOETL_ENCRYPTION_KEY"

    def _read(self) -> tuple[bytes, ...]:
        if not self._found:
            self._found = self._settings.encryption_key or self._read_file()
        return self._found

    def _read_file(self) -> tuple[bytes, ...]:
        """Return the keys of the home's own file, in embedded mode."""
        path = self._settings.home / FILE
        if not self._settings.embedded:
            return ()
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
            ) from None
        if mode & 0o077:
            raise SettingsError(f"{path} can be read by others: chmod 600 {path}")
        return encryption_keys(str(path), text)

    def _make(self) -> tuple[bytes, ...]:
        if not self._settings.embedded:
            raise SettingsError(
                "NOETL_ENCRYPTION_KEY is not set: secrets are encrypted with it, and server and workers need the same;"
                " noetl credential key makes one"
            )
        _make_file(self._settings.home / FILE)
        self._found = self._read_file()
        return self._found


def new_key() -> str:
    """Return a new key as text, for NOETL_ENCRYPTION_KEY."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def key_id(key: bytes) -> str:
    """Return the id of a key."""
    return hashlib.sha256(b"noetl key id\0" + key).hexdigest()[:12]


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, b"noetl " + purpose.encode(), "sha256")


def _make_file(path: Path) -> None:
    """Write a new key with mode 0600, whole or not at all; where another process is faster, its key stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        make_home(path.parent)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new_key() + "\n")
            file.flush()
            os.fsync(file.fileno())  # credentials are nothing without it
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written ({error.strerror}): set NOETL_HOME or NOETL_ENCRYPTION_KEY"
        ) from None
