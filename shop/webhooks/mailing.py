"""The mail to who runs the shop when an endpoint was switched off by itself: what was done, what is kept, what to do."""

from urllib.parse import urlsplit

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from shop.alarms import Claim, finish
from shop.languages import speaking
from shop.mail import narrow, send_mail
from shop.models import Delivery, Endpoint
from shop.webhooks.addresses import host_of


def mail_by_alarm(claim: Claim) -> None:
    """Send it, unless the endpoint is on again or nobody wants mails. Raises OSError when the mail cannot be handed over."""
    off = Endpoint.objects.filter(number=claim.subject, off_at__isnull=False, removed_at__isnull=True).first()
    if off is not None and settings.OPERATIONS_MAIL:
        _mail(off)
    finish(claim)


def _mail(endpoint: Endpoint) -> None:
    with speaking(settings.LANGUAGE_CODE):
        subject = _("Webhooks to %(host)s are switched off") % {"host": host_of(endpoint.url)}
        text = narrow(render_to_string("mail/endpoint.txt", _facts(endpoint)))
    moment = f"{endpoint.off_at:%Y%m%d%H%M%S%f}" if endpoint.off_at else ""
    name = f"endpoint-{endpoint.number}-{moment}@{urlsplit(settings.PUBLIC_URL).hostname}"
    send_mail(to=settings.OPERATIONS_MAIL, subject=subject, text=text, message_id=name)


def _facts(endpoint: Endpoint) -> dict[str, object]:
    """Without the address behind the host, which may hold a secret of the receiver's."""
    page = reverse("admin:shop_endpoint_change", args=[endpoint.pk])
    deliveries = Delivery.objects.filter(endpoint=endpoint)
    return {
        "endpoint": endpoint,
        "host": host_of(endpoint.url),
        "is_gone": endpoint.off_why == Endpoint.OffWhy.GONE,
        "since": f"{endpoint.failing_since:%Y-%m-%d %H:%M} UTC" if endpoint.failing_since else "",
        "waiting": deliveries.filter(status=Delivery.Status.WAITING).count(),
        "given_up": deliveries.filter(status=Delivery.Status.DEAD).count(),
        "page": f"{settings.PUBLIC_URL}{page}",
    }
