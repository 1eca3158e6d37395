"""What is left below /api/: nothing, said as a problem document."""

from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from shop.problems import Problem, answer


@csrf_exempt
def nothing(request: HttpRequest) -> HttpResponse:
    """404 for every other path of the API."""
    return answer(Problem(status=404, code="not_found", detail=_("Nothing is here.")))


urlpatterns = [re_path(r"", nothing)]
