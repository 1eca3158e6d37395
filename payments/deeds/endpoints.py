"""What staff may do about the endpoints of other systems and what was sent to them. No money moves by any of it.

An address may hold a secret of its receiver's behind the host: only who may manage endpoints sees it, and the history keeps
from which host to which it was moved. What somebody gives as a reason is for the history alone, and sent to nobody.
"""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.deeds.base import Deed, DeedRefused, Fields
from shop.models import Delivery, Endpoint
from shop.sentences import say
from shop.webhooks.addresses import MOST_LETTERS, host_of
from shop.webhooks.endpoints import change_address, send_test
from shop.webhooks.switching import (
    hinders_sending,
    remove_endpoint,
    resend_dead,
    resend_delivery,
    switch_off_by_hand,
    switch_on,
)

MANAGE = "shop.manage_endpoint"


def _count(endpoint: Endpoint, status: Delivery.Status) -> int:
    return Delivery.objects.filter(endpoint=endpoint, status=status).count()


def _hinders(endpoint: Endpoint) -> str:
    return say(_("This endpoint was removed.")) if endpoint.removed_at else ""


def _hinders_off(endpoint: Endpoint) -> str:
    return _hinders(endpoint) or (say(_("It is switched off already.")) if endpoint.off_at else "")


def _hinders_on(endpoint: Endpoint) -> str:
    return _hinders(endpoint) or ("" if endpoint.off_at else say(_("It is switched on.")))


def _hinders_resending_dead(endpoint: Endpoint) -> str:
    if hindrance := _hinders(endpoint):
        return hindrance
    return "" if _count(endpoint, Delivery.Status.DEAD) else say(_("Nothing was given up."))


def _hinders_resending(delivery: Delivery) -> str:
    return _hinders(delivery.endpoint) or str(hinders_sending(delivery))


# ---- what will happen --------------------------------------------------------------------------------------------


def _foretell_test(endpoint: Endpoint) -> list[str]:
    return [
        gettext(
            "A message that means nothing is sent now, signed like all others, also to an endpoint that is switched off."
        )
    ]


def _foretell_off(endpoint: Endpoint) -> list[str]:
    return [
        gettext("Nothing is sent any more. What waits, and what happens from now on, is kept for it."),
    ]


def _foretell_on(endpoint: Endpoint) -> list[str]:
    sentences = [
        gettext("What waits is sent at once, in order: %(count)d messages.")
        % {"count": _count(endpoint, Delivery.Status.WAITING)}
    ]
    if dead := _count(endpoint, Delivery.Status.DEAD):
        sentences.append(
            gettext("%(count)d messages were given up: they go when you send them again.") % {"count": dead}
        )
    return sentences


def _foretell_move(endpoint: Endpoint) -> list[str]:
    return [
        gettext("Everything goes to the new address from now on, also what waits. The secret stays."),
        gettext("The history keeps the hosts of both, and not what stands behind them."),
    ]


def _foretell_resending_dead(endpoint: Endpoint) -> list[str]:
    return [
        gettext("%(count)d messages were given up; those that you name wait again and are sent in order.")
        % {"count": _count(endpoint, Delivery.Status.DEAD)},
        gettext(
            "What the receiver took meanwhile is not sent again: it may see older news after newer ones."
        ),
    ]


def _foretell_removal(endpoint: Endpoint) -> list[str]:
    return [
        gettext(
            "Nothing is sent or kept for it any more, and its secrets are erased: this cannot be undone."
        ),
        gettext("%(count)d messages that wait are never sent.")
        % {"count": _count(endpoint, Delivery.Status.WAITING)},
    ]


def _foretell_resending(delivery: Delivery) -> list[str]:
    if delivery.endpoint.off_at:
        return [gettext("The endpoint is switched off: it is sent when that is on again.")]
    return [gettext("It is sent at once under the same id, before what waits in its order.")]


# ---- what is done ------------------------------------------------------------------------------------------------


def _address_fields(endpoint: Endpoint) -> Fields:
    wide = forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off", "inputmode": "url"})
    address = forms.CharField(
        max_length=MOST_LETTERS, label=gettext("Address"), widget=wide, initial=endpoint.url
    )
    return {"url": address}


def _since_fields(endpoint: Endpoint) -> Fields:
    since = forms.DateTimeField(
        required=False,
        label=gettext("Given up since"),
        help_text=gettext("Empty for all of them. Like 2026-03-01 14:30, in the shop's time."),
    )
    return {"since": since}


def _test(endpoint: Endpoint, user: User, reason: str, data: Mapping[str, Any]) -> str:
    answer = send_test(endpoint.number)
    if not answer.is_taken:
        words = _("The test was not taken: %(answer)s.")
        raise DeedRefused(say(words, answer=_(str(answer))))
    return say(_("The receiver has taken the test: %(answer)s."), answer=answer)


def _switch_off(endpoint: Endpoint, user: User, reason: str, data: Mapping[str, Any]) -> str:
    switch_off_by_hand(endpoint.number)
    return say(_("%(number)s is switched off."), number=endpoint.number)


def _switch_on(endpoint: Endpoint, user: User, reason: str, data: Mapping[str, Any]) -> str:
    waiting = switch_on(endpoint.number)
    words = _("%(number)s is switched on: %(count)d messages are sent.")
    return say(words, number=endpoint.number, count=waiting)


def _move(endpoint: Endpoint, user: User, reason: str, data: Mapping[str, Any]) -> str:
    former = change_address(endpoint.number, data["url"])
    return say(_("From %(former)s to %(new)s"), former=host_of(former), new=host_of(data["url"]))


def _resend_dead(endpoint: Endpoint, user: User, reason: str, data: Mapping[str, Any]) -> str:
    count = resend_dead(endpoint.number, since=data["since"])
    return say(_("%(count)d messages wait again."), count=count)


def _remove(endpoint: Endpoint, user: User, reason: str, data: Mapping[str, Any]) -> str:
    remove_endpoint(endpoint.number)
    return say(_("%(number)s is removed."), number=endpoint.number)


def _resend(delivery: Delivery, user: User, reason: str, data: Mapping[str, Any]) -> str:
    resend_delivery(delivery.pk)
    return say(_("%(event)s waits to be sent again."), event=delivery.event.number)


DEEDS = (
    Deed(
        name="test_endpoint",
        title=_("Send a test message"),
        permission=MANAGE,
        model=Endpoint,
        hinders=_hinders,
        foretells=_foretell_test,
        run=_test,
        max_reason=0,
    ),
    Deed(
        name="switch_off_endpoint",
        title=_("Switch off"),
        permission=MANAGE,
        model=Endpoint,
        hinders=_hinders_off,
        foretells=_foretell_off,
        run=_switch_off,
    ),
    Deed(
        name="switch_on_endpoint",
        title=_("Switch on"),
        permission=MANAGE,
        model=Endpoint,
        hinders=_hinders_on,
        foretells=_foretell_on,
        run=_switch_on,
    ),
    Deed(
        name="resend_dead",
        title=_("Send again what was given up"),
        permission=MANAGE,
        model=Endpoint,
        hinders=_hinders_resending_dead,
        foretells=_foretell_resending_dead,
        run=_resend_dead,
        fields=_since_fields,
        asks=True,
    ),
    Deed(
        name="move_endpoint",
        title=_("Change the address"),
        permission=MANAGE,
        model=Endpoint,
        hinders=_hinders,
        foretells=_foretell_move,
        run=_move,
        fields=_address_fields,
    ),
    Deed(
        name="remove_endpoint",
        title=_("Remove"),
        permission=MANAGE,
        model=Endpoint,
        hinders=_hinders,
        foretells=_foretell_removal,
        run=_remove,
    ),
    Deed(
        name="resend_delivery",
        title=_("Send now"),
        permission=MANAGE,
        model=Delivery,
        hinders=_hinders_resending,
        foretells=_foretell_resending,
        run=_resend,
        asks=True,
    ),
)
