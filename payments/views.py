"""The channels' door: `POST /notify/<channel>/`."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from payments.callbacks import MAX_BODY_BYTES, take_callback
from payments.channels.base import RawCallback
from payments.channels.registry import BrokenChannel, UnknownChannel


@csrf_exempt
@require_POST
def notify(request: HttpRequest, channel: str) -> HttpResponse:
    """Take one callback and answer in the channel's own protocol; 413 for a body no channel would send."""
    body = request.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        return HttpResponse(status=413)
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        reply = take_callback(channel, RawCallback(headers=headers, body=body))
    except BrokenChannel:
        return HttpResponse(status=503)  # sent again when somebody has mended it
    except UnknownChannel:
        return HttpResponse(status=404)
    return HttpResponse(reply.body, status=reply.status, content_type=reply.content_type)
