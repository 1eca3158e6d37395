"""What the doors of both groups of pages share."""

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

Page = Callable[..., HttpResponse]


def post_only(page_name: str) -> Callable[[Page], Page]:
    """Send whoever comes by a link or a reload to the page `page_name` instead; only POST changes anything."""

    def wrap(page: Page) -> Page:
        @functools.wraps(page)
        def run(request: HttpRequest, **parts: Any) -> HttpResponse:
            return page(request, **parts) if request.method == "POST" else redirect(page_name, **parts)

        return run

    return wrap
