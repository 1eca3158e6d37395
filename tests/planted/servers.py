"""The addresses that a pytest beside this one uses: the same servers, another database."""

from urllib.parse import quote

from django.conf import settings

from shop import embedded


def urls_for(name: str) -> tuple[str, str]:
    """(PostgreSQL, Redis) for a run whose test database is called after `name`."""
    embedded.ensure_started_for(settings)
    database = settings.DATABASES["default"]
    login = quote(str(database["USER"]), safe="")
    if database["PASSWORD"]:
        login += f":{quote(str(database['PASSWORD']), safe='')}"
    host = quote(str(database["HOST"]), safe="")
    url = f"postgresql://{login}@{host}:{database['PORT'] or 5432}/{name}"
    return url, str(settings.CACHES["default"]["LOCATION"])
