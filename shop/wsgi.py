"""The web process under an WSGI server. It uses the connection pool, see settings."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
os.environ.setdefault("NODROP_DB_POOL", "1")

import django
from django.conf import settings

from shop import embedded
from shop.findings import tell_findings
from shop.refusals import PlainWSGIHandler

django.setup(set_prefix=False)
embedded.ensure_started_for(settings)
application = PlainWSGIHandler()
tell_findings()
