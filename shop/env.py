"""Where settings come from: environment variables, then `.env`, then what a running demo left for its neighbours.

Reading only. What is missing in production is named in one clear sentence and stops the start.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from dotenv import dotenv_values
from environs import Env

BASE_DIR = Path(__file__).resolve().parent.parent


def read_environment() -> Env:
    """The environment with `.env` as defaults and, while DEBUG is on, the demo's own variables behind both."""
    env = Env()
    env.read_env(BASE_DIR / ".env", recurse=False)
    if is_debug(env):
        _read_demo(env, data_dir(env) / "demo.env")
    return env


def _read_demo(env: Env, path: Path) -> None:
    """What a demo left counts while its key files are there: a clone may move, a sandbox may be deleted."""
    left = dotenv_values(path) if path.is_file() else {}
    if left and all(Path(value or "").is_file() for name, value in left.items() if name.endswith("_FILE")):
        env.read_env(path, recurse=False)


def is_debug(env: Env) -> bool:
    """`DEBUG`; when it is not set, on for this machine only: an https address means customers."""
    return env.bool("DEBUG", not env.str("PUBLIC_URL", "").startswith("https://"))


def data_dir(env: Env) -> Path:
    """The folder of everything embedded: database, Redis, the sandbox's ledger, the demo's secrets."""
    return (BASE_DIR / env.path("NODROP_DATA_DIR", Path(".nodrop"))).resolve()


def required(env: Env, name: str, *, debug: bool, default: str, what: str) -> str:
    """The variable, or `default` while DEBUG is on. Raises ImproperlyConfigured with one sentence otherwise."""
    value = env.str(name, "")
    if value:
        return value
    if debug:
        return default
    raise ImproperlyConfigured(f"{name} is not set: {what}.")


def channel_settings(
    env: Env, name: str, keys: tuple[str, ...], options: Mapping[str, str]
) -> dict[str, str] | None:
    """The variables `NAME_KEY` of one channel, or None when the channel is not configured at all; `options` by default.

    Raises ImproperlyConfigured when only some of them are set or a key file is not there.
    """
    found = {key: env.str(f"{name}_{key}", "") for key in keys}
    if not any(found.values()):
        return None
    missing = [f"{name}_{key}" for key, value in found.items() if not value]
    if missing:
        raise ImproperlyConfigured(f"{', '.join(missing)} not set, though other {name} variables are.")
    for key, value in found.items():
        # Two of them, with a comma between, while a key is rotated.
        for path in value.split(",") if key.endswith("_FILE") else ():
            if not Path(path.strip()).is_file():
                raise ImproperlyConfigured(f"{name}_{key} names {path.strip()}, which is not a file.")
    return found | {key: env.str(f"{name}_{key}", usual) for key, usual in options.items()}


@dataclass(frozen=True, slots=True)
class Fee:
    """What a channel keeps of a payment: a share of the amount, and so many minor units."""

    rate: Decimal
    fixed_minor: int


def channel_fees(env: Env) -> dict[tuple[str, str], Fee]:
    """`CHANNEL_FEES` as "wechat:CNY=0.6%, paypal:USD=3.49%+49", by channel and currency. Raises ImproperlyConfigured."""
    fees: dict[tuple[str, str], Fee] = {}
    for word in filter(None, (part.strip() for part in env.str("CHANNEL_FEES", "").split(","))):
        found = re.fullmatch(r"([a-z]+):([A-Z]{3})=(\d{1,2}(?:\.\d{1,4})?)%(?:\+(\d{1,6}))?", word)
        if found is None:
            raise ImproperlyConfigured(
                f"CHANNEL_FEES: {word!r} is not like wechat:CNY=0.6% or paypal:USD=3.49%+49."
            )
        channel, currency, percent, fixed = found.groups()
        fees[channel, currency] = Fee(Decimal(percent) / 100, int(fixed or 0))
    return fees


def trusted_proxies(env: Env) -> int:
    """`TRUSTED_PROXIES`, one or more. Raises ImproperlyConfigured."""
    found = env.str("TRUSTED_PROXIES", "1").strip()
    if re.fullmatch("[1-9]", found):
        return int(found)
    raise ImproperlyConfigured("TRUSTED_PROXIES is not a number of proxies from 1 to 9.")
