"""How a day may begin. From each of these states the random steps of the machine go on, for alone they seldom come far.

Beside each stands what its runs must have come to; a machine that never came there would prove nothing about it.
"""

from typing import Any

from tests.machine.till import Fault


def nothing_was_done(machine: Any) -> None:
    pass


def code_is_shown(machine: Any) -> None:
    machine.apply(0, "wechat", [], insists=False)


def code_was_paid(machine: Any) -> None:
    code_is_shown(machine)
    machine.pay(0, None, is_told=True)


def code_was_paid_twice(machine: Any) -> None:
    code_was_paid(machine)
    machine.pay(0, None, is_told=True)


def wrong_amount_was_paid(machine: Any) -> None:
    code_is_shown(machine)
    machine.pay(0, 1, is_told=True)


def channel_refused_and_was_paid(machine: Any) -> None:
    machine.apply(0, "wechat", [Fault.REFUSED], insists=False)
    machine.pay(0, None, is_told=True)


def process_died_while_creating(machine: Any) -> None:
    machine.apply(0, "wechat", [Fault.CRASH_AFTER], insists=False)


def two_codes_were_paid(machine: Any) -> None:
    machine.apply(0, "unionpay", [], insists=False)
    machine.apply(0, "wechat", [], insists=False)
    machine.pay(1, None, is_told=True)
    machine.pay(0, None, is_told=True)


def channel_is_silent_while_shopper_cancels(machine: Any) -> None:
    code_is_shown(machine)
    machine.cancel(0, [Fault.LOST_AFTER, Fault.LOST_BEFORE])


def cancelled_order_was_paid(machine: Any) -> None:
    code_is_shown(machine)
    machine.cancel(0, [])
    machine.pay(0, None, is_told=True)


def order_expired(machine: Any) -> None:
    code_is_shown(machine)
    machine.pass_time(1900)
    machine.look([])


def expired_order_was_paid(machine: Any) -> None:
    order_expired(machine)
    machine.pay(0, None, is_told=True)


def expired_order_was_paid_when_sold_out(machine: Any) -> None:
    order_expired(machine)
    machine.place("Ben", 2)
    machine.pay(0, None, is_told=True)


def expired_order_was_paid_after_days(machine: Any) -> None:
    order_expired(machine)
    machine.pass_time(25 * 3600)
    machine.pay(0, None, is_told=True)


def expired_order_was_paid_after_another_like_it(machine: Any) -> None:
    order_expired(machine)
    machine.place("Anna", 1)
    machine.apply(1, "wechat", [], insists=False)
    machine.pay(1, None, is_told=True)
    machine.pay(0, None, is_told=True)


def refund_waits_for_approval(machine: Any) -> None:
    code_was_paid(machine)
    machine.ask_refund(0, "too much")
    machine.ask_refund(0, "all")
    machine.ship(0)


def refund_was_approved(machine: Any) -> None:
    refund_waits_for_approval(machine)
    machine.decide(0, agrees=True)


def refund_was_rejected(machine: Any) -> None:
    refund_waits_for_approval(machine)
    machine.decide(0, agrees=False)
    machine.ship(0)


def refund_was_not_possible(machine: Any) -> None:
    machine.ledger.refunds_end_at_once = False
    refund_was_approved(machine)
    machine.pass_time(100)
    machine.look([])
    machine.end_refund(0, "CLOSED")


def refund_was_made_in_the_console(machine: Any) -> None:
    code_was_paid(machine)
    machine.see_something_odd(0, "console")


def money_came_astray(machine: Any) -> None:
    machine.apply(0, "unionpay", [], insists=False)
    machine.pay(0, None, is_told=False)
    machine.see_something_odd(0, "ours astray")
    machine.see_something_odd(0, "forged")


def consent_was_given(machine: Any) -> None:
    machine.apply(0, "paypal", [], insists=False)
    machine.pay(0, None, is_told=True)


def consent_was_taken_up(machine: Any) -> None:
    consent_was_given(machine)
    machine.query(0, [])


def cancelled_order_was_agreed_to(machine: Any) -> None:
    machine.apply(0, "paypal", [], insists=False)
    machine.cancel(0, [])
    machine.pay(0, None, is_told=True)
    machine.query(0, [])


def money_is_taken_in_silence(machine: Any) -> None:
    consent_was_given(machine)
    machine.query(0, [Fault.NONE, Fault.LOST_BEFORE])
    machine.cancel(0, [])


def capture_was_refused(machine: Any) -> None:
    consent_was_given(machine)
    machine.query(0, [Fault.NONE, Fault.REFUSED])


def shopper_paid_otherwise_while_the_purse_was_silent(machine: Any) -> None:
    consent_was_given(machine)
    machine.query(0, [Fault.NONE, Fault.LOST_BEFORE])
    machine.apply(0, "wechat", [], insists=False)
    machine.pass_time(100)
    machine.apply(0, "wechat", [], insists=True)
    machine.pay(1, None, is_told=True)


DAYS: dict[Any, set[str]] = {
    nothing_was_done: {"order expired"},
    code_is_shown: {"payment closed"},
    code_was_paid: {"settled", "PAYING payment paid"},
    code_was_paid_twice: {"surplus", "PAID payment paid", "refund REFUNDED"},
    wrong_amount_was_paid: {"mismatch"},
    channel_refused_and_was_paid: {"payment failed", "FAILED payment paid"},
    process_died_while_creating: {"crashed"},
    two_codes_were_paid: {"settled", "surplus", "refund REFUNDED"},
    channel_is_silent_while_shopper_cancels: {"not closed on a guess"},
    cancelled_order_was_paid: {
        "order cancelled",
        "CLOSED payment paid",
        "late: cancelled",
        "refund REFUNDED",
    },
    order_expired: {"order expired", "payment closed"},
    expired_order_was_paid: {"reopened"},
    expired_order_was_paid_when_sold_out: {"late: sold out"},
    expired_order_was_paid_after_days: {"late: long ago"},
    expired_order_was_paid_after_another_like_it: {"late: bought again"},
    refund_waits_for_approval: {"over refund", "not shipped"},
    refund_was_approved: {"refund approved", "order refunded"},
    refund_was_rejected: {"refund REJECTED", "shipped"},
    refund_was_not_possible: {"refund FAILED"},
    refund_was_made_in_the_console: {"console refund"},
    money_came_astray: {"unmatched", "forged"},
    consent_was_taken_up: {"capture begun", "settled"},
    cancelled_order_was_agreed_to: {"order cancelled", "payment closed"},
    money_is_taken_in_silence: {"capture begun", "not closed on a guess", "settled"},
    capture_was_refused: {"capture begun", "payment failed"},
    shopper_paid_otherwise_while_the_purse_was_silent: {"capture begun", "settled", "payment expired"},
}
