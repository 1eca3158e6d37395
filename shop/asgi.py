"""The web process under an ASGI server. It uses the connection pool, see settings."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
os.environ.setdefault("NODROP_DB_POOL", "1")

from django.conf import settings
from django.core.asgi import get_asgi_application

from shop import embedded

embedded.ensure_started_for(settings)
application = get_asgi_application()
