"""The ways to pay on the pay page, and what becomes of one that an earlier payment has held up.

It decides what is offered and said; what may be done, `payments.applying` decides when it is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from orders.models import Order
from payments.cached import WORTH_SHOWING
from payments.channels.offers import Device, Offer, offers, other_phone, read_device
from payments.channels.registry import can_refund, class_of
from payments.showing import OrderView, Situation, current_payment
from shop import languages
from shop.checkout.wallets import Text, Wallet, wallet_of
from shop.checkout.words import (
    LAPSED,
    NO_METHOD,
    NO_METHOD_IN_APP,
    NO_METHOD_ON_PHONE,
    PRESENT_REMAINS,
    PRESENT_STAYS,
    PREVIOUS_CLOSED,
    PREVIOUS_FIRST,
    PREVIOUS_OPEN,
    PREVIOUS_STAYS,
    action_type,
)
from shop.clock import read_now

# The situations in which the shopper chooses how to pay.
CHOOSING = frozenset({Situation.TO_PAY, Situation.REFUSED})
# Those in which another payment has to wait for the word about the present one.
UNDECIDED = frozenset({Situation.WAITING, Situation.CONFIRMING})
# Those in which what was asked for has yet to begin.
HELD_UP = frozenset({Situation.STARTING, Situation.CONFIRMING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to pay. `payer_fields`: what has to be known of the shopper, as paths."""

    channel: str
    scene: str
    wallet: Wallet
    payer_fields: tuple[str, ...]

    @property
    def query(self) -> str:
        """The wish for it, in an address."""
        return urlencode({"channel": self.channel, "scene": self.scene})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`methods`: the ways to pay here. `codes`: those for another phone, which scans from this one. `elsewhere`: names of
    the wallets that another browser could open. `wanted`: the one that was asked for, which comes first among them.
    `own_code`: the present payment's wallet, by a code.

    `is_open`: the shopper is to choose now. `asks_payer`: about themselves, for the wanted one. `goes_on`: asking for the
    wanted one again may go well now, and the page does so by itself. `page`: where it looks for news meanwhile, "" for its
    own address. `line`: what to say in place of the usual words, "" for those. `lack`: what there is to say where the
    shopper is to choose and can do so nowhere here.
    """

    methods: Sequence[Method]
    codes: Sequence[Method]
    elsewhere: str
    wanted: Method | None
    own_code: Method | None
    is_open: bool
    asks_payer: bool
    goes_on: bool
    has_another: bool
    page: str
    line: Text
    lack: Text


def device_of(request: HttpRequest) -> Device:
    """What the shopper looks at the page with."""
    return read_device(request.headers.get("User-Agent", ""))


def find_method(request: HttpRequest, order: Order, *, channel: str, scene: str) -> Method | None:
    """The way to pay that was asked for, if it is offered; or if it is the present payment's, begun on another device."""
    payment = current_payment(order)
    if payment is not None and payment.is_live and (payment.channel, payment.scene) == (channel, scene):
        # Its payer has been told of when it was begun.
        return Method(channel=channel, scene=scene, wallet=wallet_of(channel), payer_fields=())
    methods, codes = _list_methods(order, device_of(request))
    return _pick([*methods, *codes], channel, scene)


def offer_methods(request: HttpRequest, view: OrderView) -> Choice:
    """The choice for this order. What is wanted is named by the form that was sent, and then by the address."""
    device = device_of(request)
    methods, codes = _list_methods(view.order, device)
    has_lapsed = _has_lapsed(view)
    if has_lapsed and view.payment and not can_refund(view.payment.channel):
        # It may have been paid on its last day, and a second one could not be given back.
        methods = [method for method in methods if method.channel != view.payment.channel]
    asked = request.POST or request.GET
    wanted = _pick([*methods, *codes], asked.get("channel", ""), asked.get("scene", ""))
    may_go_on = wanted is not None and _may_go_on(view)
    has_any = bool(methods or codes)
    may_change = has_any and view.situation is Situation.WAITING and ("choose" in request.GET or may_go_on)
    is_open = view.situation in CHOOSING or view.may_supersede or may_change or (has_lapsed and has_any)
    present = (view.payment.channel, view.payment.scene) if view.payment else ("", "")
    elsewhere = _elsewhere(view.order, device)
    line = _line(view, wanted)
    if may_change and view.payment and not line:
        can_close = class_of(view.payment.channel).can_close
        title = wallet_of(view.payment.channel).title
        line = (PRESENT_STAYS if can_close else PRESENT_REMAINS) % {"title": title}
    # Who has begun with it has told everything already.
    is_begun = (
        wanted is not None
        and view.situation is Situation.STARTING
        and (wanted.channel, wanted.scene) == present
    )
    asks_payer = (
        bool(wanted and wanted.payer_fields) and (is_open or view.situation in HELD_UP) and not is_begun
    )
    return Choice(
        methods=sorted(methods, key=lambda method: method is not wanted),
        codes=sorted(codes, key=lambda method: method is not wanted),
        elsewhere=elsewhere,
        wanted=wanted,
        own_code=next(
            (code for code in codes if code.channel == present[0] and code.scene != present[1]), None
        ),
        is_open=is_open,
        asks_payer=asks_payer,
        goes_on=may_go_on and not asks_payer,
        has_another=any((method.channel, method.scene) != present for method in methods),
        page=_page(request, view, wanted) if wanted else "",
        line=line if is_open or wanted else "",
        lack=_lack(view.order, codes, elsewhere) if is_open and not methods else "",
    )


def _list_methods(order: Order, device: Device) -> tuple[list[Method], list[Method]]:
    """The ways to pay on the device itself, and those with another phone."""
    codes = [] if device is Device.PC else other_phone(order.currency, order.amount)
    here = offers(order.currency, device, order.amount)
    return [_method(offer) for offer in here], [_method(offer) for offer in codes]


def _method(offer: Offer) -> Method:
    return Method(
        channel=offer.channel.name,
        scene=offer.scene,
        wallet=wallet_of(offer.channel.name),
        payer_fields=offer.channel.payer_fields,
    )


def _pick(methods: Sequence[Method], channel: str, scene: str) -> Method | None:
    return next((method for method in methods if (method.channel, method.scene) == (channel, scene)), None)


def _elsewhere(order: Order, device: Device) -> str:
    """The wallets that the browser of a wallet keeps shut and the phone's own would open, for people."""
    if device is Device.PC:
        return ""
    here = [offer.channel.name for offer in offers(order.currency, device, order.amount)]
    outside = [offer.channel.name for offer in offers(order.currency, Device.PHONE, order.amount)]
    return languages.join_names(wallet_of(name).title for name in outside if name not in here)


def _has_lapsed(view: OrderView) -> bool:
    """Whether the present attempt has ended before its order, and is not being asked for its end only."""
    return view.situation is Situation.ENDING and view.order.expires_at - read_now() > WORTH_SHOWING


def _may_go_on(view: OrderView) -> bool:
    payment = view.payment
    if view.situation is Situation.WAITING and payment:  # the channel was heard again: now it may close
        return payment.close_unanswered_since is not None and not view.may_supersede
    if view.situation is Situation.STARTING and payment:  # not for ever: a try may hold a worker for seconds
        now = read_now()
        return (
            payment.lease_until <= now < payment.created_at + timedelta(seconds=settings.CONFIRMING_LIMIT_S)
        )
    return view.situation in CHOOSING


def _page(request: HttpRequest, view: OrderView, wanted: Method) -> str:
    choose = "choose&" if "choose" in request.GET else ""
    return f"{reverse('pay', kwargs={'number': view.order.number})}?{choose}{wanted.query}"


def _lack(order: Order, codes: Sequence[Method], elsewhere: str) -> Text:
    if elsewhere:
        return NO_METHOD_IN_APP
    return NO_METHOD_ON_PHONE if codes else NO_METHOD % {"amount": order.amount_text}


def _line(view: OrderView, wanted: Method | None) -> Text:
    if _has_lapsed(view) and view.payment and action_type(view.payment) != "voucher":
        return LAPSED % {"title": wallet_of(view.payment.channel).title}
    was_held_up = view.payment is not None and view.payment.close_unanswered_since is not None
    if wanted is None or not was_held_up or view.may_supersede:
        return ""
    if view.situation is Situation.TO_PAY:
        return PREVIOUS_CLOSED % {"title": wanted.wallet.title}
    if view.situation is Situation.WAITING and view.payment:
        stays = not class_of(view.payment.channel).can_close
        return (PREVIOUS_STAYS if stays else PREVIOUS_OPEN) % {"title": wanted.wallet.title}
    return PREVIOUS_FIRST if view.situation in UNDECIDED else ""
