"""Settings of every process. Values an operator turns come from the environment; the others carry their reason here."""

import socket
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from shop import embedded, languages
from shop.env import (
    BASE_DIR,
    channel_fees,
    channel_settings,
    data_dir,
    is_debug,
    read_environment,
    required,
    trusted_proxies,
)
from shop.logs import logging_settings

env = read_environment()

DEBUG = is_debug(env)
DATA_DIR = data_dir(env)
SECRET_KEY = required(
    env, "SECRET_KEY", debug=DEBUG, default="only-for-debug-" + "0" * 40, what="set a long random text"
)
# Earlier keys, so that what they sealed can be read while the key is changed.
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", [])
PUBLIC_URL = required(
    env, "PUBLIC_URL", debug=DEBUG, default="http://127.0.0.1:8000", what="set the shop's https address"
).rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["*"] if DEBUG else [PUBLIC_URL.split("//")[-1].split(":")[0]])
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SHOP_NAME = env.str("SHOP_NAME", "nodrop")
# Only set where the sandbox plays the channels; the pages then link to its wallet.
SANDBOX_URL = env.str("SANDBOX_URL", "").rstrip("/")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "django_q",
    "shop",
    "orders",
    "payments",
    "shop.checkout",
]
# Pages of these origins may call the API from a browser, by token or key and never by a session. None unless named.
CORS_ALLOWED_ORIGINS: list[str] = env.list("CORS_ALLOWED_ORIGINS", [])
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_HEADERS = (
    "accept",
    "accept-language",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-none-match",
)
CORS_EXPOSE_HEADERS = ("ETag", "Retry-After", "Location", "Link", "Idempotency-Replayed")

MIDDLEWARE = [
    *(["corsheaders.middleware.CorsMiddleware"] if CORS_ALLOWED_ORIGINS else []),
    "django.middleware.security.SecurityMiddleware",
    "shop.static.StaticMiddleware",
    "shop.logs.RequestLogMiddleware",
    "shop.middleware.SecurityHeadersMiddleware",
    "shop.middleware.OddCookieMiddleware",
    "shop.middleware.StaffTimeMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "shop.middleware.LanguageMiddleware",
    "shop.refusals.HostMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "shop.middleware.BusyDatabaseMiddleware",
]
ROOT_URLCONF = "shop.urls"
ASGI_APPLICATION = "shop.asgi.application"
WSGI_APPLICATION = "shop.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "shop.checkout.context.shop",
            ]
        },
    }
]

# ---- PostgreSQL -------------------------------------------------------------------------------------------------
EMBEDDED_POSTGRES = not env.str("DATABASE_URL", "")
# The web uses a pool, which turns a restart of PostgreSQL into a short wait. The cluster and watch must not: a pool
# does not survive their fork, and children would share sockets.
DB_POOL = env.bool("NODROP_DB_POOL", False)
# Threads of one web process that may hold a connection at once.
DB_POOL_SIZE = env.int("NODROP_DB_POOL_SIZE", 12)

# PostgreSQL plans the statements of the hot paths once for each connection; a pooler between us that gives each
# transaction another connection (pgbouncer in transaction mode) needs this off.
DB_PREPARED = env.bool("NODROP_DB_PREPARED", True)


def database() -> dict[str, Any]:
    url = env.str("DATABASE_URL", "") or embedded.postgres_url(DATA_DIR)
    if not url.startswith(("postgres://", "postgresql://")):
        raise ImproperlyConfigured(
            "DATABASE_URL is not a postgresql:// address: nodrop runs on PostgreSQL only."
        )
    options = dj_database_url.parse(url, conn_health_checks=True)
    options["CONN_MAX_AGE"] = 0 if DB_POOL else None
    options["OPTIONS"] = options.get("OPTIONS", {}) | {
        "connect_timeout": 3,
        # A waiting shopper gets a clear answer after seconds; nothing may hold a row lock while it thinks.
        "options": "-c lock_timeout=3s -c statement_timeout=15s -c idle_in_transaction_session_timeout=10s",
    }
    if DB_PREPARED:
        options["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 3}
    if DB_POOL:
        # The pool waits longer after each failed try to connect; when it may not try for long, the first request
        # after an outage begins a fresh one.
        options["OPTIONS"]["pool"] = {
            "min_size": 2,
            "max_size": DB_POOL_SIZE,
            "timeout": 3,
            "reconnect_timeout": 2,
        }
    return dict(options)


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ---- Redis: only what may be lost -------------------------------------------------------------------------------
EMBEDDED_REDIS = not env.str("REDIS_URL", "")
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": env.str("REDIS_URL", "") or embedded.redis_url(DATA_DIR),
        "KEY_PREFIX": "nodrop",
        "OPTIONS": {
            # JSON: who can write to Redis must not be able to run code here.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            # A frozen Redis may cost a request a moment, not its life.
            "SOCKET_CONNECT_TIMEOUT": 0.3,
            "SOCKET_TIMEOUT": 0.3,
            "IGNORE_EXCEPTIONS": True,
        },
    }
}

# The bell's, see shop.bell: one connection of each web process, for all pages that wait. Nothing is asked over it, so a
# machine that has vanished is noticed by the kernel: after half a minute.
REDIS_KEEPALIVE = {
    "socket_keepalive": True,
    "socket_keepalive_options": {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3},
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "prefix": "nodrop",
            "hosts": [
                {
                    "address": CACHES["default"]["LOCATION"],
                    "socket_connect_timeout": 0.3,
                    "socket_timeout": 0.3,
                    **(REDIS_KEEPALIVE if str(CACHES["default"]["LOCATION"]).startswith("redis") else {}),
                }
            ],
        },
    }
}

# ---- django-q2: messages are only speed; the alarms are the truth ------------------------------------------------
Q_CLUSTER = {
    "name": "nodrop",
    "orm": "default",  # the ORM broker commits with our rows and redelivers what a killed worker held
    "workers": 2,
    "queue_limit": 2,  # = workers: the lease of a row runs while it waits in memory
    "bulk": 1,
    "timeout": 20,
    "retry": 30,  # worst lateness of a lost message
    "ack_failures": True,
    "max_attempts": 1,  # the alarm retries, not the queue
    "save_limit": -1,  # our events are the record of success; failures are still kept
    "catch_up": False,  # after an outage one run, not a hundred
    "poll": 0.2,
    "guard_cycle": 0.5,
    "label": _("Task queue"),
}
# The schedules of django-q2, kept by `watch`: name → (function, minutes). One malformed row would stop all of them,
# so they are made by code only.
SCHEDULES = {"scan_payments": ("payments.tasks.scan", 1)}

# ---- Orders and payments ----------------------------------------------------------------------------------------
# Called with the claim and the error when the handler of an alarm keeps failing.
ALARM_FAILED = "payments.cases.open_for_alarm"
# Called with an endpoint that is in trouble, and with one that took something: people have a case about it.
ENDPOINT_TROUBLE = "payments.cases.open_for_endpoint"
ENDPOINT_WELL = "payments.cases.close_for_endpoint"
ORDER_LIFETIME_S = env.int("ORDER_LIFETIME_S", 30 * 60)
# The same lines for the same buyer again within this time are taken for a mistake; 0 takes every order.
DUPLICATE_WINDOW_S = env.int("DUPLICATE_WINDOW_S", 600)
# How long the link to an order lives, by which whoever holds it sees the order.
ORDER_LINK_DAYS = env.int("ORDER_LINK_DAYS", 180)
# How long an unanswered earlier attempt may hold up the next one before the shopper may choose to go on.
CONFIRMING_LIMIT_S = env.int("CONFIRMING_LIMIT_S", 60)
# A refund above this many minor units waits for a second person.
REFUND_APPROVAL_ABOVE = env.int("REFUND_APPROVAL_ABOVE", 100_000)
# Callbacks are kept as they came for so long; receipts, refunds and events for ever.
CALLBACKS_KEPT_DAYS = env.int("CALLBACKS_KEPT_DAYS", 180)
# What other systems can read again in the feed: a system that was away for longer has to ask about each order.
EVENTS_KEPT_DAYS = env.int("EVENTS_KEPT_DAYS", 90)
# The variables of each channel, CHANNEL_NAME; a channel with none of them is not offered. Files may be two with a comma
# between where they hold keys of the channel, while those are changed.
CHANNEL_KEYS = {
    "wechat": (
        "BASE_URL",
        "MCHID",
        "APPID",
        "MERCHANT_SERIAL",
        "MERCHANT_KEY_FILE",
        "APIV3_KEY",
        "PLATFORM_KEY_ID",
        "PLATFORM_KEY_FILE",
    ),
    "alipay": ("GATEWAY_URL", "APP_ID", "SELLER_ID", "APP_KEY_FILE", "ALIPAY_KEY_FILE"),
    "unionpay": (
        "BASE_URL",
        "STATEMENT_URL",
        "MER_ID",
        "KEY_FILE",
        "CERT_FILE",
        "ROOT_CERT_FILE",
        "MIDDLE_CERT_FILE",
    ),
    "paypal": ("BASE_URL", "CLIENT_ID", "CLIENT_SECRET", "MERCHANT_ID", "WEBHOOK_ID"),
    "boleto": ("BASE_URL", "SECRET_KEY", "WEBHOOK_SECRET"),
}
# Variables that have a usual value.
CHANNEL_OPTIONS = {
    # Nothing is done with it: when it is there, the checks see whether key, certificate and serial belong together.
    "wechat": {"MERCHANT_CERT_FILE": ""},
    "unionpay": {"SIGNER": "中国银联股份有限公司"},
    # How a webhook is verified: with the certificate that it names, or by asking PayPal ("postback").
    "paypal": {"VERIFY_WEBHOOKS": "certificate"},
    "boleto": {"EXPIRES_AFTER_DAYS": "3"},
}
CHANNELS: dict[str, dict[str, str] | None] = {
    name: channel_settings(env, name.upper(), keys, CHANNEL_OPTIONS.get(name, {}))
    for name, keys in CHANNEL_KEYS.items()
}

# What each channel should keep of a payment, to be compared with its statements; a channel that is not here is not.
CHANNEL_FEES = channel_fees(env)

# ---- Webhooks ---------------------------------------------------------------------------------------------------
# Networks of one's own whose machines may be told, over http as well, as "10.1.2.0/24,127.0.0.1/32". Without any, only
# https into the open world.
WEBHOOK_ALLOWED_NETWORKS: list[str] = env.list("WEBHOOK_ALLOWED_NETWORKS", [])

# ---- Mail -------------------------------------------------------------------------------------------------------
EMAIL_HOST = env.str("EMAIL_HOST", "")
EMAIL_PORT = env.int("EMAIL_PORT", 587)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", True)
EMAIL_TIMEOUT = 8
DEFAULT_FROM_EMAIL = env.str("MAIL_FROM", f"{SHOP_NAME} <shop@localhost>")
# Who is told when something of the shop needs hands, as an endpoint that was switched off.
OPERATIONS_MAIL = env.str("OPERATIONS_MAIL", "")
# Without a mail server the mails are files in the data folder.
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH = DATA_DIR / "mail"

# ---- Web --------------------------------------------------------------------------------------------------------
LANGUAGE_CODE = languages.ENGLISH
LANGUAGES: tuple[tuple[str, str], ...] = languages.LANGUAGES
LOCALE_PATHS = [BASE_DIR / "shop" / "locale"]
TIME_ZONE = "UTC"
# The zone that people's eyes want; the database and the API stay in UTC.
DISPLAY_TIME_ZONE = env.str("DISPLAY_TIME_ZONE", "Asia/Shanghai")
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = env.path("STATIC_ROOT", BASE_DIR / "staticfiles")
STATICFILES_DIRS = [BASE_DIR / "static"]
# Nothing is uploaded here. Without an address of its own Django's test server would look for files at every path.
MEDIA_URL = "media/"
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "shop.static.HashedStaticFiles"
    },
}
# Carts live in the session: in PostgreSQL, so that an emptied Redis costs nobody a cart.
SESSION_ENGINE = "django.contrib.sessions.backends.db"
HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
CSRF_FAILURE_VIEW = "shop.checkout.doors.refuse_form"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# What was chosen by the switch goes before what the browser asks for.
LANGUAGE_COOKIE_NAME = "language"
LANGUAGE_COOKIE_AGE = 365 * 86_400
LANGUAGE_COOKIE_SECURE, LANGUAGE_COOKIE_HTTPONLY, LANGUAGE_COOKIE_SAMESITE = HTTPS, True, "Lax"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
BEHIND_PROXY = env.bool("BEHIND_PROXY", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
# How many proxies of ours write to X-Forwarded-For, one after the other; 0 believes nobody.
TRUSTED_PROXIES = trusted_proxies(env) if BEHIND_PROXY else 0
X_FRAME_OPTIONS = "DENY"
# An order of a few lines is small; a larger body is not ours.
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["shop.api.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "shop.api.JSONWhateverIsAccepted",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "shop.openapi.Described",
    "DEFAULT_AUTHENTICATION_CLASSES": ["shop.keys.KeyOrShopperAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "EXCEPTION_HANDLER": "shop.api.answer_problem",
    "UNAUTHENTICATED_USER": None,
}
# The description of the API, see `shop.openapi`.
SPECTACULAR_SETTINGS = {
    "TITLE": SHOP_NAME,
    "DESCRIPTION": _("Orders, payments and refunds of this shop, for its shoppers and for other systems."),
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVERS": [{"url": PUBLIC_URL}],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SORT_OPERATIONS": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "DISABLE_DOCSTRING_DESCRIPTIONS": True,
    "ENABLE_DJANGO_DEPLOY_CHECK": False,
    "PREPROCESSING_HOOKS": ["payments.api.described.add_status"],
    "POSTPROCESSING_HOOKS": ["shop.schema.complete"],
}

# ---- Metrics -----------------------------------------------------------------------------------------------------
# Who shows it may read /metrics; without one only this machine may, and staff.
METRICS_TOKEN = env.str("METRICS_TOKEN", "")
# Where each floor says what it knows of itself, see shop.scraping.
METRICS: dict[str, Any] = {
    "readings": ["shop.gauges.READINGS", "payments.metrics.READINGS"],
    "tallies": ["shop.gauges.TALLIES", "payments.metrics.TALLIES"],
    "counted": ["shop.logs.REQUESTS", "payments.callbacks.ANSWERS"],
    "computed": {"nodrop_moves_total": "payments.metrics.count_statuses"},
    "derived": ["payments.metrics.ORDERS", "payments.metrics.PAYMENTS", "payments.metrics.REFUNDS"],
}

# How many requests of each kind one asker may send in a minute, see shop.throttles; 0 for any number.
THROTTLES = {
    kind: env.int(f"THROTTLE_{kind.upper()}", usual)
    for kind, usual in {
        "place": 300,
        "apply": 300,
        "cancel": 300,
        "query": 120,
        "refund": 120,
        "status": 600,
        "read": 1200,
        "write": 300,
        "list": 120,
        "feed": 300,
        "docs": 60,
        "refused": 30,  # wrong keys, by address
    }.items()
}

LOG_JSON = env.bool("LOG_JSON", not DEBUG)
LOGGING = logging_settings(level=env.str("LOG_LEVEL", "INFO"), as_json=LOG_JSON)

PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SILENCED_SYSTEM_CHECKS: list[str] = []
