"""The web process under an WSGI server. It uses the connection pool, see settings."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
os.environ.setdefault("NODROP_DB_POOL", "1")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from shop import embedded
from shop.findings import tell_findings

embedded.ensure_started_for(settings)
application = get_wsgi_application()
tell_findings()
