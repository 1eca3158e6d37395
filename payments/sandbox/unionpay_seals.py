"""UnionPay's seals: how parameters become the text that is signed, who signs it, and the authority that certifies them.

Pure functions over strings, with the throwaway identities of the sandbox's merchant, of its UnionPay and of a stranger
beside them. Source: technical documentation of UnionPay's online gateway 5.1.0, "signing" and "verification of signatures".
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from payments.sandbox.keys import Keyring, make_digits

VERSION = "5.1.0"
RSA_METHOD = "01"
SIGNER_NAME = "041@8310000000083040@中国银联股份有限公司@00016493"

# The mark of the sandbox's merchants: production can refuse it.
MER_ID_PREFIX = "999999"

_SPELLING = (padding.PKCS1v15(), hashes.SHA256())
_ORGANISATION = "nodrop sandbox"
_LIFE = timedelta(days=3650)


class UnionPayKeys:
    """The identities: an authority with its root, the merchant, UnionPay's signer, and a stranger for forgeries."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self.mer_id = keyring.text("unionpay_mer_id", lambda: MER_ID_PREFIX + make_digits(9))
        root = self._keep_identity("root", "nodrop sandbox CS CA")
        middle = self._keep_identity("middle", "nodrop sandbox OCA1", root)
        self.merchant = self._keep_identity("merchant", f"041@Z{self.mer_id}@{self.mer_id}@00000001", middle)
        self.signer = self._keep_identity("signer", SIGNER_NAME, middle)
        # Bears UnionPay's name, but nobody whom the merchant trusts says so.
        self.stranger = self._keep_identity("stranger", SIGNER_NAME)
        self.merchant_cert_id = str(self.merchant.certificate.serial_number)

    def read_environment(self) -> dict[str, str]:
        """The merchant's half of the identities, as variables."""
        return {
            "UNIONPAY_MER_ID": self.mer_id,
            "UNIONPAY_KEY_FILE": str(self._keyring.path("unionpay_merchant_key.pem")),
            "UNIONPAY_CERT_FILE": str(self._keyring.path("unionpay_merchant_cert.pem")),
            "UNIONPAY_ROOT_CERT_FILE": str(self._keyring.path("unionpay_root_cert.pem")),
            "UNIONPAY_MIDDLE_CERT_FILE": str(self._keyring.path("unionpay_middle_cert.pem")),
        }

    def seal(self, params: dict[str, str], *, is_forged: bool = False) -> dict[str, str]:
        """The parameters with the signer's certificate and signature; forged ones carry a stranger's."""
        identity = self.stranger if is_forged else self.signer
        whole = params | {"signPubKeyCert": write_certificate(identity.certificate)}
        return whole | {"signature": sign(identity.key, whole)}

    def is_from_merchant(self, params: dict[str, str]) -> bool:
        """Whether the merchant's certificate is named and fits the signature."""
        return params.get("certId") == self.merchant_cert_id and is_signed(params, self.merchant.certificate)

    def _keep_identity(self, name: str, subject: str, issuer: "Identity | None" = None) -> "Identity":
        key = self._keyring.private_key(f"unionpay_{name}_key.pem")
        pem = self._keyring.content(
            f"unionpay_{name}_cert.pem",
            lambda: _certify(key, subject, issuer, is_authority=name in ("root", "middle")),
        )
        return Identity(key, x509.load_pem_x509_certificate(pem))


@dataclass(frozen=True)
class Identity:
    """A key and the certificate that goes with it."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate


def build_text(params: dict[str, str]) -> str:
    """`k=v` joined by `&`, sorted by name, without the signature and without empty values; nothing is encoded."""
    named = sorted((name, value) for name, value in params.items() if name != "signature" and value != "")
    return "&".join(name + "=" + value for name, value in named)


def sign(key: rsa.RSAPrivateKey, params: dict[str, str]) -> str:
    """RSA over the lower-case hexadecimal SHA-256 of the text: hashed once more by the signature itself."""
    return base64.b64encode(key.sign(_hash(params), *_SPELLING)).decode()


def is_signed(params: dict[str, str], certificate: x509.Certificate) -> bool:
    """Whether the parameters' own signature is of this certificate's key."""
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        signature = base64.b64decode(params.get("signature", ""), validate=True)
        key.verify(signature, _hash(params), *_SPELLING)
    except (InvalidSignature, ValueError):
        return False
    return True


def write_certificate(certificate: x509.Certificate) -> str:
    """A certificate as UnionPay puts it into a message: PEM with CRLF and no line end behind it."""
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return "\r\n".join(pem.splitlines())


def _hash(params: dict[str, str]) -> bytes:
    return hashlib.sha256(build_text(params).encode()).hexdigest().encode()


def _certify(key: rsa.RSAPrivateKey, subject: str, issuer: Identity | None, *, is_authority: bool) -> bytes:
    """A certificate in PEM, by itself where there is no issuer."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, subject),
        ]
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(issuer.certificate.subject if issuer else name, name, key.public_key())
        .serial_number(int("1" + make_digits(10)))  # CFCA's have eleven digits as well
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(issuer.key if issuer else key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
