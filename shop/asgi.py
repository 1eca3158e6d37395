"""The web process under an ASGI server. It uses the connection pool, see settings."""

import os
from typing import cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
os.environ.setdefault("NODROP_DB_POOL", "1")

import django
from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.utils.module_loading import import_string

from shop import embedded
from shop.findings import tell_findings
from shop.limits import App, LimitBody
from shop.refusals import PlainASGIHandler
from shop.uploads import most_bytes

django.setup(set_prefix=False)
embedded.ensure_started_for(settings)
http = LimitBody(cast("App", PlainASGIHandler()), larger=most_bytes)
application = ProtocolTypeRouter({"http": http, "websocket": import_string("shop.checkout.push.sockets")})
tell_findings()
