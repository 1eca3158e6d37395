"""A refund that is asked for over the API, by staff or by a system in its owner's name, written into the two books that
the back office keeps: the history of staff, which nobody changes, and the admin's own log. What may be given back,
`payments.refunding` decides.
"""

from typing import cast

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext_lazy as _

from payments.deeds import EXPECTED, find_deed, say, say_broken, say_missing, write_down
from payments.models import Payment, Refund, StaffAction
from payments.refunding import ask_refund
from shop import sentences
from shop.idempotency import Key
from shop.keys import Asker
from shop.models import Source
from shop.sentences import money

# In the history it is the same, whichever door was taken.
DEED = find_deed("refund_payment", Payment)


def who_may_refund(asker: Asker, payment: Payment) -> User:
    """The member of the staff in whose name money is given back: who asks, or the owner of the key, as they are now.

    Raises PermissionDenied for a shopper, and for staff without the permission, whose attempt is kept.
    """
    user = asker.key.owner if asker.key else asker.user
    if not (user and user.is_staff and user.is_active):
        raise PermissionDenied
    if not user.has_perm(DEED.permission):
        write_down(DEED, payment, user, "", say_missing(DEED), is_done=False)
        raise PermissionDenied
    return cast("User", user)


def ask_refund_as(
    user: User, payment: Payment, *, amount: int, reason: str, key: Key | None, source: Source, actor: str
) -> Refund:
    """`ask_refund` in this person's name. What came of it is kept, once for each `key`; raises what `ask_refund` raises.

    `actor`: how the refund names who asked, where that is a system with `user` for its owner. Never inside a transaction.
    """
    try:
        refund = ask_refund(payment.number, amount=amount, reason=reason, actor=actor, source=source, key=key)
    except EXPECTED as error:
        write_down(DEED, payment, user, reason, say(error), is_done=False)
        raise
    except Exception as error:  # the history keeps it, and the caller gets it
        words = say_broken(error)
        write_down(DEED, payment, user, reason, words, is_done=False)
        raise
    if not (refund.is_replay and _is_written(payment, refund)):  # the process may have died in between
        write_down(DEED, payment, user, reason, _say_asked(refund), is_done=True)
    return refund


def _say_asked(refund: Refund) -> str:
    return sentences.say(
        _("%(amount)s over the API, by %(name)s: refund %(number)s is %(status)s."),
        name=refund.asked_by,
        amount=money(refund.amount, refund.receipt.currency),
        number=refund.number,
        status=refund.status,
    )


def _is_written(payment: Payment, refund: Refund) -> bool:
    done = StaffAction.objects.filter(order_number=payment.order.number, action=DEED.name, is_done=True)
    return done.filter(result__contains=refund.number).exists()
