"""Throwaway keys of the sandbox, made once and kept in one folder, readable by their owner only.

Several processes may share the folder: whoever writes a file first wins and everybody uses that one. Nothing
here is ever to be used against a real channel, and every identity made from it says so (see each channel's
prefixes).
"""

import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


class Keyring:
    """Named secrets in a folder, each made at its first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """The absolute path of a secret that exists."""
        return (self.folder / name).resolve()

    def text(self, name: str, make: Callable[[], str]) -> str:
        """The text kept under `name`; `make` is called when there is none yet."""
        return self._keep(name, lambda: make().encode()).decode().strip()

    def private_key(self, name: str) -> rsa.RSAPrivateKey:
        """The RSA key of 2048 bits kept under `name` as PKCS#8 PEM."""
        key = serialization.load_pem_private_key(self._keep(name, _make_private_key), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{self.path(name)} holds no RSA key")
        return key

    def public_key(self, name: str, key: rsa.RSAPrivateKey) -> Path:
        """The path of the PEM file with the public half of `key`."""
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        self._keep(name, lambda: key.public_key().public_bytes(serialization.Encoding.PEM, spki))
        return self.path(name)

    def certificate(
        self, name: str, key: rsa.RSAPrivateKey, subject: str, serial_prefix: str
    ) -> x509.Certificate:
        """The self-signed certificate kept under `name`; its serial begins with these hex digits."""
        pem = self._keep(name, lambda: _make_certificate(key, subject, serial_prefix))
        return x509.load_pem_x509_certificate(pem)

    def content(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The bytes kept under `name`; `make` is called when there are none yet."""
        return self._keep(name, make)

    def _keep(self, name: str, make: Callable[[], bytes]) -> bytes:
        kept = self.folder / name
        if not kept.exists():
            _write_once(kept, make())
        return kept.read_bytes()


def make_digits(length: int) -> str:
    """Random decimal digits."""
    return "".join(secrets.choice("0123456789") for _ in range(length))


def _write_once(target: Path, content: bytes) -> None:
    # Linking a finished file is atomic and fails when the name is taken: nobody reads half a key.
    draft = target.with_name(f"{target.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    try:
        os.link(draft, target)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _make_private_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _make_certificate(key: rsa.RSAPrivateKey, subject: str, serial_prefix: str) -> bytes:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "nodrop sandbox"),
            x509.NameAttribute(NameOID.COMMON_NAME, subject),
        ]
    )
    serial = serial_prefix + secrets.token_hex(20)[len(serial_prefix) :]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), int(serial, 16))
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
