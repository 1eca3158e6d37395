"""What the views of the API have in common. Not in `shop.api`, which DRF itself imports while it makes its own view."""

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.views import APIView

from shop.queries import Reader, read_query
from shop.throttles import count_request


class Door(APIView):
    """A view of the API, with the parameters that its address may have. What they say is in `asked`.

    A list has more of them and reads them itself: None.
    """

    # DRF would offer OPTIONS, and refuse it.
    http_method_names = ["get", "head", "post"]
    query: Mapping[str, Reader] | None = {}
    asked: Mapping[str, Any]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # Before anybody is let in or not: a refusal costs as much as an answer.
        count_request(request._request)
        super().initial(request, *args, **kwargs)
        if self.query is not None:
            self.asked = read_query(request._request, **self.query)
