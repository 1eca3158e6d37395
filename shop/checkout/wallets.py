"""How people call the channels, one or several of them in a sentence; and which of them give money back by themselves."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from payments.channels.registry import CLASSES, can_refund, title_of
from payments.models import Payment
from shop import languages

Text = str | Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """How people call a channel, and what they open to pay by it."""

    title: Text
    app: Text


# A channel that is not here goes by its own title.
WALLETS = {
    "wechat": Wallet(title=_("WeChat Pay"), app=_("WeChat")),
    "alipay": Wallet(title=_("Alipay"), app=_("Alipay")),
    "unionpay": Wallet(title=_("UnionPay"), app=pgettext_lazy("app", "UnionPay")),
    "paypal": Wallet(title=_("PayPal"), app=_("PayPal")),
    "boleto": Wallet(title=_("Boleto"), app=_("the bank")),
}
SOME_WALLET = Wallet(title=_("the wallet"), app=_("the wallet"))


def wallet_of(channel: str) -> Wallet:
    """The words for a channel; its own title where there are none here, and the bare name of one that is gone."""
    if channel in WALLETS:
        return WALLETS[channel]
    title = title_of(channel) if channel in CLASSES else channel
    return Wallet(title=title, app=title)


def list_apps(payments: Iterable[Payment]) -> str:
    """Who is asked about these payments, for people."""
    return languages.join_names(wallet_of(payment.channel).app for payment in payments)


def names_by_hand(channels: Iterable[str]) -> str:
    """Those of them that cannot give money back, so that a person has to, for people; "" when all of them can."""
    return languages.join_names(
        wallet_of(name).title for name in channels if name not in CLASSES or not can_refund(name)
    )
