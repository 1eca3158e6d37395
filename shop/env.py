"""Where settings come from: environment variables, then `.env`, then what a running demo left for its neighbours.

Reading only. What is missing in production is named in one clear sentence and stops the start.
"""

import re
from collections.abc import Mapping
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


def trusted_proxies(env: Env) -> int:
    """`TRUSTED_PROXIES`, one or more. Raises ImproperlyConfigured."""
    found = env.str("TRUSTED_PROXIES", "1").strip()
    if re.fullmatch("[1-9]", found):
        return int(found)
    raise ImproperlyConfigured("TRUSTED_PROXIES is not a number of proxies from 1 to 9.")
