"""Settings: what is missing in production stops the start with one sentence; an address that is given is used."""

import os
import subprocess
import sys

import pytest

from tests.programs import MANAGE, ROOT

GOOD = {
    "DEBUG": "0",
    "SECRET_KEY": "long-enough-for-a-test-" * 3,
    "PUBLIC_URL": "https://shop.example",
    "DATABASE_URL": "postgresql://shop@db.example/shop",
    "REDIS_URL": "redis://cache.example/0",
}
WECHAT = {
    "WECHAT_BASE_URL": "https://api.mch.weixin.qq.com",
    "WECHAT_MCHID": "1900006011",
    "WECHAT_APPID": "wx0d9e2f4c6b8a1735",
    "WECHAT_MERCHANT_SERIAL": "3D5A1C7E",
    "WECHAT_MERCHANT_KEY_FILE": "/nowhere/key.pem",
    "WECHAT_APIV3_KEY": "x" * 32,
    "WECHAT_PLATFORM_KEY_ID": "PUB_KEY_ID_1",
    "WECHAT_PLATFORM_KEY_FILE": "/nowhere/platform.pem",
}


def start(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    ours = ("DEBUG", "SECRET_KEY", "PUBLIC_URL", "DATABASE_URL", "REDIS_URL", "WECHAT_", "DJANGO_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [*MANAGE, *args],
        env=clean | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("missing", ["SECRET_KEY", "PUBLIC_URL"])
def test_missing_secret_or_address_stops_the_start_with_one_sentence(missing):
    started = start("check", **{name: value for name, value in GOOD.items() if name != missing})
    assert started.returncode == 2
    assert started.stderr.startswith(f"nodrop cannot start: {missing} is not set")
    assert len(started.stderr.splitlines()) == 1


def test_an_https_address_alone_means_production():
    started = start("check", PUBLIC_URL="https://shop.example")
    assert started.returncode == 2
    assert "SECRET_KEY is not set" in started.stderr


def test_missing_key_file_stops_the_start_with_one_sentence():
    started = start("check", **GOOD, **WECHAT)
    assert started.returncode == 2
    assert "WECHAT_MERCHANT_KEY_FILE names /nowhere/key.pem, which is not a file" in started.stderr
    assert len(started.stderr.splitlines()) == 1


def test_half_a_channel_stops_the_start():
    started = start("check", **GOOD, WECHAT_MCHID="1900006011")
    assert started.returncode == 2
    assert "WECHAT_APPID" in started.stderr


def test_other_databases_are_refused():
    started = start("check", **GOOD | {"DATABASE_URL": "sqlite:///db.sqlite3"})
    assert started.returncode == 2
    assert "PostgreSQL only" in started.stderr


def test_production_with_everything_set_passes_the_checks_and_keeps_its_cookies_to_itself():
    code = "from django.conf import settings as s; print(s.SESSION_COOKIE_SECURE, s.SESSION_COOKIE_NAME, s.DATABASES['default']['HOST'], any(s.CHANNELS.values()))"
    started = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **GOOD, "DJANGO_SETTINGS_MODULE": "shop.settings"},
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert started.stdout.split() == ["True", "__Host-session", "db.example", "False"]


def test_demo_that_left_and_moved_away_does_not_stop_a_command(tmp_path):
    (tmp_path / "demo.env").write_text("WECHAT_MCHID='99'\nWECHAT_MERCHANT_KEY_FILE='/moved/away.pem'\n")
    addresses = {"DATABASE_URL": GOOD["DATABASE_URL"], "REDIS_URL": GOOD["REDIS_URL"]}
    started = start("check", NODROP_DATA_DIR=str(tmp_path), **addresses)
    assert started.returncode == 0, started.stderr


def test_forgotten_static_files_cost_the_colours_and_not_the_page(tmp_path):
    code = """
from django.conf import settings
import django; django.setup()
from django.templatetags.static import static
print(static("shop.css"))
"""
    variables = {
        **os.environ,
        **GOOD,
        "STATIC_ROOT": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "shop.settings",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=variables, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "/static/shop.css"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "0"),
        ({"TRUSTED_PROXIES": "2"}, "0"),
        ({"BEHIND_PROXY": "1"}, "1"),
        ({"BEHIND_PROXY": "1", "TRUSTED_PROXIES": "2"}, "2"),
    ],
    ids=str,
)
def test_proxies_are_believed_only_where_there_are_some(variables, expected):
    code = "from django.conf import settings as s; print(s.TRUSTED_PROXIES)"
    started = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **GOOD, **variables, "DJANGO_SETTINGS_MODULE": "shop.settings"},
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert started.stdout.strip() == expected


@pytest.mark.parametrize("number", ["0", "-1", "", "one", "10.0.0.0/8"])
def test_number_of_proxies_that_is_none_stops_the_start(number):
    started = start("check", **GOOD, BEHIND_PROXY="1", TRUSTED_PROXIES=number)
    assert started.returncode == 2
    assert "TRUSTED_PROXIES is not a number of proxies from 1 to 9" in started.stderr
    assert len(started.stderr.splitlines()) == 1
