"""More than ninety bugs as somebody might write them, each a small change of the product that a test must catch.

They make "0 violations" mean something. A bug says what it changes, and which tests it expects to fail; one whose text is
not found exactly once in the product does not apply any more, and that fails loudly too.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """`before` becomes `after` in `file`; `caught_by` are the tests, as pytest names them, of which one must fail."""

    name: str
    file: str
    before: str
    after: str
    caught_by: tuple[str, ...]


MONEY = "tests/payments"
SWEEP = "tests/sweep"
CHANNELS = "tests/flows/test_channels.py"

BUGS = (
    # ---- settling
    Bug(
        name="the amount of a success is not compared",
        file="payments/settling.py",
        before="if (report.amount_minor, report.currency) != (payment.amount, payment.currency):",
        after="if report.currency != payment.currency:",
        caught_by=(f"{MONEY}/test_settling.py",),
    ),
    Bug(
        name="the currency of a success is not compared",
        file="payments/settling.py",
        before="if (report.amount_minor, report.currency) != (payment.amount, payment.currency):",
        after="if report.amount_minor != payment.amount:",
        caught_by=(f"{MONEY}/test_settling.py",),
    ),
    Bug(
        name="a second success stays where it is",
        file="payments/settling.py",
        before="            give_back(order, receipt)\n        else:",
        after="        else:",
        caught_by=(f"{MONEY}/test_settling.py",),
    ),
    Bug(
        name="late money reopens an order that its shopper cancelled",
        file="payments/settling.py",
        before="if order.close_reason != CloseReason.EXPIRED or order.closed_at is None:",
        after="if order.closed_at is None:",
        caught_by=(f"{MONEY}/test_settling.py",),
    ),
    Bug(
        name="the history of a settlement is not written",
        file="payments/settling.py",
        before="        record(changes)\n        if moved is None:",
        after="        if moved is None:",
        caught_by=(f"{MONEY}/test_settling.py",),
    ),
    Bug(
        name="what follows a settlement is a message only, without its alarm",
        file="payments/settling.py",
        before="    set_alarm(FOLLOW_UP, order.number, in_s=FOLLOW_UP_S)\n",
        after="",
        caught_by=(f"{MONEY}/test_settling.py", f"{MONEY}/test_mailing.py", SWEEP),
    ),
    Bug(
        name="a weaker word undoes a payment: not found closes it",
        file="payments/statuses.py",
        before="(PaymentStatus.PAYING, Outcome.NOT_FOUND): Deed.KEEP,",
        after="(PaymentStatus.PAYING, Outcome.NOT_FOUND): Deed.CLOSE,",
        caught_by=(f"{MONEY}/test_querying.py", f"{MONEY}/test_settling.py"),
    ),
    Bug(
        name="no answer counts as a refusal",
        file="payments/statuses.py",
        before="(PaymentStatus.PAYING, Outcome.UNKNOWN): Deed.KEEP,",
        after="(PaymentStatus.PAYING, Outcome.UNKNOWN): Deed.FAIL,",
        caught_by=(f"{MONEY}/test_querying.py",),
    ),
    # ---- locks
    Bug(
        name="the order's row is not locked",
        file="orders/moves.py",
        before="locked = Order.objects.select_for_update().annotate(",
        after="locked = Order.objects.annotate(",
        caught_by=("tests/orders/test_locking.py",),
    ),
    Bug(
        name="the creation lease is ignored",
        file="payments/applying.py",
        before="    if live.lease_until > order.now:\n        return Next.WAIT, live\n",
        after="",
        caught_by=("tests/flows/test_bad_days.py", f"{MONEY}/test_applying.py"),
    ),
    Bug(
        name="a code that was made meanwhile is superseded as if it were none",
        file="payments/applying.py",
        before="    if still_live is not None and live.action is None and still_live.action is not None:\n",
        after="    if False:\n",
        caught_by=(f"{MONEY}/test_applying.py",),
    ),
    Bug(
        name="a channel is called inside a transaction",
        file="payments/refunding.py",
        before="def send_refund(refund: Refund)",
        after="@transactional\ndef send_refund(refund: Refund)",
        caught_by=(f"{MONEY}/test_refunding.py",),
    ),
    Bug(
        name="a deadlock is not tried again",
        file="shop/transactions.py",
        before='REPEATABLE = frozenset({"40P01", "40001", "23505"})',
        after="REPEATABLE: frozenset[str] = frozenset()",
        caught_by=("tests/ground/test_transactions.py",),
    ),
    # ---- applying and ending
    Bug(
        name="a create call without an answer is taken for a failure",
        file="payments/applying.py",
        before="        raise _ask_soon(payment) from error\n    except Refused as error:\n",
        after="        settle_payment(\n"
        "            PaymentReport(outcome=Outcome.REFUSED, number=payment.number),\n"
        "            channel=payment.channel,\n"
        "            source=Source.RESPONSE,\n"
        "        )\n"
        "        raise ChannelUnavailable(payment.channel) from error\n"
        "    except Refused as error:\n",
        caught_by=(f"{MONEY}/test_applying.py",),
    ),
    Bug(
        name="an order that has ended is not looked at",
        file="payments/applying.py",
        before="    _check_payable(order, wish.adapter)\n",
        after="",
        caught_by=(f"{MONEY}/test_applying.py",),
    ),
    Bug(
        name="whatever attempt is live is superseded",
        file="payments/applying.py",
        before="if still_live is not None and still_live.pk == live.pk:",
        after="if still_live is not None:",
        caught_by=(f"{MONEY}/test_applying.py",),
    ),
    Bug(
        name="an answer that was asked for in time ends the attempt when it comes late",
        file="payments/querying.py",
        before="        is_dead = payment.now > payment.dead_at ",
        after="        late = _read(number)\n        is_dead = late.now > late.dead_at ",
        caught_by=(f"{MONEY}/test_querying.py",),
    ),
    Bug(
        name="a refund is marked as sent when the call is over",
        file="payments/refunding.py",
        before="        Refund.objects.filter(pk=refund.pk, sent_at__isnull=True).update(sent_at=Now())\n",
        after="",
        caught_by=(f"{MONEY}/test_refunding.py",),
    ),
    Bug(
        name="the goods are not locked while they are counted",
        file="orders/placing.py",
        before='.select_for_update(of=("self",))',
        after="",
        caught_by=("tests/orders/test_placing.py",),
    ),
    Bug(
        name="a second trade of a paid number is taken for a repeat",
        file="payments/callbacks.py",
        before="receipt.channel_number = %s and",
        after="%s <> '' and",
        caught_by=(f"{MONEY}/test_callbacks.py",),
    ),
    Bug(
        name="the query's alarm asks nobody",
        file="payments/querying.py",
        before="        return\n    outcome, _ = query_payment(claim.subject)\n    if claim.is_last:\n",
        after="        return\n    outcome = Outcome.OPEN\n    if claim.is_last:\n",
        caught_by=(f"{MONEY}/test_querying.py",),
    ),
    Bug(
        name="an alarm that was set anew is removed with the old one",
        file="shop/alarms.py",
        before="    same.filter(attempts=claim.attempt, due_at=claim.due_at).delete()",
        after="    same.delete()",
        caught_by=(f"{MONEY}/test_following.py",),
    ),
    Bug(
        name="a new payment is started while money of a wrong amount waits for a person",
        file="payments/applying.py",
        before="    if has_open_mismatch(order):\n",
        after="    if False:\n",
        caught_by=(f"{MONEY}/test_applying.py",),
    ),
    Bug(
        name="an earlier attempt is superseded on a guess",
        file="payments/applying.py",
        before="        _insist_on_choice(live, adapter, may_supersede=may_supersede)\n",
        after="",
        caught_by=(f"{MONEY}/test_applying.py",),
    ),
    Bug(
        name="the order is closed though its channel gave no answer",
        file="payments/ending.py",
        before="elif (outcome := _close(live, reason)) is Outcome.UNKNOWN and not _is_lost(live, reason):",
        after="elif (outcome := _close(live, reason)) is None:",
        caught_by=(f"{MONEY}/test_ending.py",),
    ),
    Bug(
        name="a closed order keeps its goods",
        file="orders/moves.py",
        before="        holds_stock=False,\n    )\n    _put_back(order)\n",
        after="        holds_stock=False,\n    )\n",
        caught_by=("tests/orders/test_moves.py",),
    ),
    Bug(
        name="goods that were shipped return to the shelf by a refund",
        file="orders/moves.py",
        before="is_here = order.status == OrderStatus.READY_FOR_SHIPMENT",
        after="is_here = True",
        caught_by=(f"{MONEY}/test_asking_refunds.py",),
    ),
    Bug(
        name="any status may follow any other",
        file="orders/moves.py",
        before="    if to not in MOVES[OrderStatus(order.status)]:\n        raise IllegalMove(order.number, order.status, to)\n",
        after="",
        caught_by=("tests/orders/test_moves.py",),
    ),
    # ---- alarms and queries
    Bug(
        name="the alarm is removed one step early",
        file="payments/querying.py",
        before="        return\n    outcome, _ = query_payment(claim.subject)\n    if claim.is_last:\n",
        after="        return\n    remove_alarms([QUERY_PAYMENT], claim.subject)\n    outcome, _ = query_payment(claim.subject)\n    if claim.is_last:\n",
        caught_by=(f"{MONEY}/test_querying.py",),
    ),
    Bug(
        name="a claim does not move the alarm on",
        file="shop/alarms.py",
        before="then statement_timestamp() + due.gap\n",
        after="then alarm.due_at\n",
        caught_by=("tests/ground/test_alarms.py",),
    ),
    Bug(
        name="an alarm is set when the transaction is over, not inside it",
        file="payments/moves.py",
        before="    set_alarm(SEND_REFUND, refund.number, in_s=FIRST_QUERY_S)\n    send_message(SEND_REFUND, refund.number)\n",
        after="    from django.db import transaction\n\n"
        "    number = refund.number\n"
        "    transaction.on_commit(lambda: set_alarm(SEND_REFUND, number, in_s=FIRST_QUERY_S))\n",
        caught_by=(SWEEP, f"{MONEY}/test_asking_refunds.py"),
    ),
    Bug(
        name="who does not answer until the end is forgotten",
        file="payments/querying.py",
        before="    if outcome is Outcome.UNKNOWN:\n        _ask_people(",
        after="    if False:\n        _ask_people(",
        caught_by=(f"{MONEY}/test_querying.py",),
    ),
    Bug(
        name="what its channel calls open at the end is not looked at again",
        file="payments/querying.py",
        before="is_open = outcome is Outcome.OPEN and not class_of(payment.channel).can_close",
        after="is_open = False",
        caught_by=(f"{MONEY}/test_rechecking.py",),
    ),
    Bug(
        name="a paid payment keeps its alarm",
        file="payments/moves.py",
        before="    remove_alarms([QUERY_PAYMENT, CAPTURE_PAYMENT, RECHECK_PAYMENT], payment.number)\n",
        after="",
        caught_by=(f"{MONEY}/test_callbacks.py",),
    ),
    # ---- callbacks
    Bug(
        name="a callback is acknowledged though nothing was committed",
        file="payments/callbacks.py",
        before="    if not _is_known(channel, message):\n        _take(channel, message, raw)\n",
        after="    try:\n        _take(channel, message, raw)\n    except Exception:\n        log.exception('later')\n",
        caught_by=("tests/flows/test_bad_days.py", SWEEP),
    ),
    Bug(
        name="signatures are not verified",
        file="payments/channels/wechat.py",
        before='        if not verify_rsa_sha256(key, headers.get("wechatpay-signature", ""), text):\n',
        after="        if not text:\n",
        caught_by=(f"{MONEY}/channels/test_wechat.py",),
    ),
    Bug(
        name="an old message may be sent again for ever",
        file="payments/channels/wechat.py",
        before="if abs(self._clock().timestamp() - int(timestamp)) >= WINDOW_S:",
        after="if int(timestamp) < 0:",
        caught_by=(f"{MONEY}/channels/test_wechat.py",),
    ),
    Bug(
        name="another merchant's callback is taken",
        file="payments/channels/wechat.py",
        before='        if content.get("mchid") != self._mchid:\n            raise NotGenuine("mchid", number=_named_number(content))\n',
        after="",
        caught_by=(f"{MONEY}/channels/test_wechat.py",),
    ),
    Bug(
        name="an answer about another order is believed",
        file="payments/channels/wechat.py",
        before="    return all(data.get(name) == value for name, value in expected.items())\n",
        after="    return True\n",
        caught_by=(f"{MONEY}/channels/test_wechat.py",),
    ),
    Bug(
        name="messages are forgotten before their news was taken",
        file="payments/callbacks.py",
        before="Callback.objects.filter(taken_at__lt=long_ago)",
        after="Callback.objects.filter(received_at__lt=long_ago)",
        caught_by=(f"{MONEY}/test_callbacks.py",),
    ),
    # ---- refunds
    Bug(
        name="a refund is tried again under a new number",
        file="payments/attempts.py",
        before="        number=refund.number,\n        payment_number=",
        after="        number=__import__('shop.numbers', fromlist=['numbers']).new_refund_number(),\n"
        "        payment_number=",
        caught_by=(f"{MONEY}/test_refunding.py",),
    ),
    Bug(
        name="a refund that could not be sent has failed",
        file="payments/refunding.py",
        before="    outcome = Outcome.UNKNOWN\n",
        after="    outcome = Outcome.REFUSED\n",
        caught_by=(f"{MONEY}/test_refunding.py",),
    ),
    Bug(
        name="money that is on its way back is promised again",
        file="payments/statuses.py",
        before="RESERVING = frozenset({RefundStatus.PENDING_APPROVAL, RefundStatus.REFUNDING, RefundStatus.REFUNDED})",
        after="RESERVING = frozenset({RefundStatus.REFUNDED})",
        caught_by=(f"{MONEY}/test_asking_refunds.py",),
    ),
    Bug(
        name="people approve their own refunds",
        file="payments/refunding.py",
        before="    if actor == refund.asked_by:\n        raise OwnApproval(number)\n",
        after="",
        caught_by=(f"{MONEY}/test_asking_refunds.py",),
    ),
    Bug(
        name="without Redis whatever asks it fails",
        file="shop/hints.py",
        before="    except redis.RedisError as error:",
        after="    except ZeroDivisionError as error:",
        caught_by=("tests/ground/test_bell.py", "tests/ground/test_hints.py"),
    ),
    # ---- twice
    Bug(
        name="only Redis knows what was ordered a moment ago",
        file="orders/placing.py",
        before="    if products[0].first_order and not again:",
        after="    if False:",
        caught_by=("tests/orders/test_duplicates.py",),
    ),
    Bug(
        name="the content of an order is not locked",
        file="orders/placing.py",
        before="    if not again:\n        lock_content(order)\n",
        after="",
        caught_by=("tests/races/test_placing.py",),
    ),
    Bug(
        name="an order that was closed is in the way of the next",
        file="orders/duplicates.py",
        before=".exclude(status=OrderStatus.CLOSED)",
        after="",
        caught_by=("tests/orders/test_duplicates.py",),
    ),
    Bug(
        name="another body under the same key is not seen",
        file="shop/idempotency.py",
        before="    if row.body_hash != key.body_hash:",
        after="    if False:",
        caught_by=("tests/orders/test_duplicates.py",),
    ),
    Bug(
        name="a key does not name what its application has begun",
        file="payments/applying.py",
        before="    if lease is not None:\n        name_subject(lease, payment.number, status=CREATED)\n",
        after="",
        caught_by=("tests/flows/test_idempotency.py",),
    ),
    Bug(
        name="a key's lease is taken while somebody works under it",
        file="shop/idempotency.py",
        before=" where held.lease_until <= statement_timestamp() and",
        after=" where held.lease_until is not null and",
        caught_by=("tests/flows/test_idempotency.py",),
    ),
    Bug(
        name="a refund's key is forgotten",
        file="payments/refunding.py",
        before="    made = claim_key(key, subject=refund_number, status=201) if key else None\n",
        after="    made = None\n",
        caught_by=("tests/flows/test_idempotency.py",),
    ),
    Bug(
        name="a code of an older version is shown again",
        file="payments/cached.py",
        before=" or state.version < version",
        after="",
        caught_by=(f"{MONEY}/test_cached.py",),
    ),
    Bug(
        name="whoever knows the number is answered from the cache",
        file="payments/cached.py",
        before="    if value is None or admitted is None:",
        after="    admitted = admitted or value\n    if value is None:",
        caught_by=(f"{MONEY}/test_cached.py",),
    ),
    Bug(
        name="an old link is answered from the cache",
        file="payments/cached.py",
        before=' if admitted["version"] == state.version else None',
        after="",
        caught_by=(f"{MONEY}/test_cached.py",),
    ),
    Bug(
        name="an older state takes the place of a newer one",
        file="shop/hints.py",
        before="if version and version > tonumber(ARGV[1])",
        after="if false and version > tonumber(ARGV[1])",
        caught_by=("tests/ground/test_hints.py",),
    ),
    Bug(
        name="a hint without an end is believed",
        file="shop/hints.py",
        before="ends > 0 and ends <= tonumber(ARGV[1]) and redis.call('get', name) or false",
        after="redis.call('get', name)",
        caught_by=("tests/ground/test_hints.py",),
    ),
    Bug(
        name="the refusal of an old try fails what a later one has made",
        file="payments/applying.py",
        before="    if locked.lease_until != payment.lease_until or locked.action is not None:",
        after="    if False:",
        caught_by=(f"{MONEY}/test_late_tries.py",),
    ),
    Bug(
        name="an old try ends the lease of a later one",
        file="payments/moves.py",
        before=".filter(number=payment.number, lease_until=payment.lease_until)",
        after=".filter(number=payment.number)",
        caught_by=(f"{MONEY}/test_late_tries.py",),
    ),
    Bug(
        name="a refund is refused though another sends it at this moment",
        file="payments/refunding.py",
        before=" and claim is not None and not is_latest(claim):",
        after=" and claim is None:",
        caught_by=(f"{MONEY}/test_late_tries.py",),
    ),
    Bug(
        name="who slept over a key's lease still has it",
        file="shop/idempotency.py",
        before="scope=lease.key.scope, key=lease.key.key, lease_until=lease.until",
        after="scope=lease.key.scope, key=lease.key.key",
        caught_by=("tests/ground/test_idempotency.py",),
    ),
    Bug(
        name="who waits keeps the connection that another needs",
        file="shop/locks.py",
        before="    if not in_transaction():",
        after="    if False:",
        caught_by=("tests/flows/test_crowd.py", "tests/ground/test_locks.py"),
    ),
    Bug(
        name="a payment is locked before its order",
        file="payments/moves.py",
        before="for update of placed, payment",
        after="for update of payment, placed",
        caught_by=("tests/ground/test_writes.py",),
    ),
    # ---- capturing
    Bug(
        name="an attempt whose place was taken is captured",
        file="payments/settling.py",
        before="    return is_wanted and payment.superseded_at is None\n",
        after="    return is_wanted\n",
        caught_by=(f"{MONEY}/test_capturing.py",),
    ),
    Bug(
        name="who agrees after the order was paid otherwise pays again",
        file="payments/settling.py",
        before="is_wanted = order.status == OrderStatus.UNPAID and payment.status == PaymentStatus.PAYING",
        after="is_wanted = payment.status == PaymentStatus.PAYING",
        caught_by=(f"{MONEY}/test_capturing.py",),
    ),
    Bug(
        name="an attempt that was closed is not asked about again",
        file="payments/moves.py",
        before="if to != PaymentStatus.PAID and was_payable and not is_over:",
        after="if False:",
        caught_by=(f"{MONEY}/test_rechecking.py",),
    ),
    Bug(
        name="the looking at a closed attempt ends with the first look",
        file="payments/querying.py",
        before="    if not claim.is_last:\n        return\n    if outcome is Outcome.UNKNOWN:\n        _recheck_daily(",
        after="    if outcome is Outcome.UNKNOWN:\n        _recheck_daily(",
        caught_by=(f"{MONEY}/test_rechecking.py",),
    ),
    Bug(
        name="a capture that was begun is not looked at again before it is sent",
        file="payments/capturing.py",
        before="    if is_begun and is_awaited(order, payment):",
        after="    if is_begun:",
        caught_by=("tests/machine",),
    ),
    Bug(
        name="close is believed while the money is being taken",
        file="payments/settling.py",
        before="    if deed is Deed.CLOSE and payment.capture_asked_at is not None and source is Source.RESPONSE:",
        after="    if False:",
        caught_by=(f"{MONEY}/test_capturing.py",),
    ),
    Bug(
        name="an older capture's refusal ends the present one",
        file="payments/capturing.py",
        before=" and payment.captures == tried.captures\n",
        after="\n",
        caught_by=(f"{MONEY}/test_capturing.py",),
    ),
    Bug(
        name="an attempt ends by the clock while its money is being taken",
        file="payments/querying.py",
        before="        if is_dead and not _may_be_taken(payment, outcome):",
        after="        if is_dead:",
        caught_by=(f"{MONEY}/test_capturing.py",),
    ),
    Bug(
        name="a capture has no alarm",
        file="payments/moves.py",
        before="        set_alarm(CAPTURE_PAYMENT, payment.number, in_s=CAPTURE_S)\n",
        after="",
        caught_by=(f"{MONEY}/test_capturing.py",),
    ),
    Bug(
        name="a consent that could not be used ends the attempt",
        file="payments/channels/paypal.py",
        before='(("INSTRUMENT_DECLINED", "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING"), Outcome.NOT_FOUND)',
        after='(("INSTRUMENT_DECLINED", "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING"), Outcome.REFUSED)',
        caught_by=(f"{MONEY}/test_capturing.py",),
    ),
    Bug(
        name="who agreed in time loses the goods to the clock",
        file="payments/ending.py",
        before="    if channel.needs_capture and reason is CloseReason.EXPIRED:",
        after="    if False:",
        caught_by=(f"{MONEY}/test_capturing.py",),
    ),
    # ---- other channels
    Bug(
        name="a boleto's surplus is refunded on a rail that has none",
        file="payments/settling.py",
        before="    if left and not can_refund(receipt.channel):",
        after="    if False:",
        caught_by=(CHANNELS,),
    ),
    Bug(
        name="the tax number is not erased",
        file="payments/moves.py",
        before='    _write(payment, status=to, payer="", **columns)',
        after="    _write(payment, status=to, **columns)",
        caught_by=(CHANNELS,),
    ),
    Bug(
        name="the order of a slip expires like any other",
        file="payments/keeping.py",
        before="        keep_open(order, until=payment.dead_at)\n",
        after="        pass\n",
        caught_by=(CHANNELS,),
    ),
    Bug(
        name="a code that nobody scanned is taken for closed",
        file="payments/channels/alipay.py",
        before="            outcome = Outcome.NOT_FOUND if answer.is_missing else Outcome.UNKNOWN\n"
        '            return PaymentReport(outcome=outcome, number=number, code=answer.code or "about_another")',
        after="            outcome = Outcome.CLOSED if answer.is_missing else Outcome.UNKNOWN\n"
        '            return PaymentReport(outcome=outcome, number=number, code=answer.code or "about_another")',
        caught_by=(f"{MONEY}/channels/test_alipay.py", CHANNELS),
    ),
    Bug(
        name="a number is sent again to a channel that makes it twice",
        file="payments/channels/unionpay.py",
        before="    repeat = Repeat.ASK_THEN_NEW\n",
        after="    repeat = Repeat.SAME_NUMBER\n",
        caught_by=(CHANNELS,),
    ),
    Bug(
        name="a message about no money is a case when nothing confirms it",
        file="payments/callbacks.py",
        before="    if report.outcome not in (Outcome.SUCCEEDED, Outcome.UNKNOWN) and not report.needs_person:",
        after="    if False:",
        caught_by=(f"{MONEY}/test_callbacks.py",),
    ),
    # ---- the books
    Bug(
        name="what a person hands in settles like the channel's own statement",
        file="payments/repairing.py",
        before="    if statement.origin != Statement.Origin.FETCHED:",
        after="    if False:",
        caught_by=(f"{MONEY}/test_repairing.py",),
    ),
    Bug(
        name="a trade around midnight is missed before the statement beside is there",
        file="payments/reconciling.py",
        before='"until": end if after else end - MIDNIGHT,',
        after='"until": end,',
        caught_by=(f"{MONEY}/test_reconciling.py",),
    ),
    Bug(
        name="the day of UnionPay's statement begins at midnight",
        file="payments/channels/unionpay.py",
        before="        return start - early, end - early\n",
        after="        return start, end\n",
        caught_by=(f"{MONEY}/channels/test_unionpay_statement.py",),
    ),
    Bug(
        name="a restated statement does not count",
        file="payments/statements.py",
        before="    same_day.update(is_current=False)\n    new.pk = None",
        after="    new.is_current = not same_day.exists()\n    new.pk = None",
        caught_by=(f"{MONEY}/test_statements.py",),
    ),
    Bug(
        name="a statement of another day is taken in",
        file="payments/statements.py",
        before='    if counts["within"] * 2 < counts["all"]:',
        after="    if False:",
        caught_by=(f"{MONEY}/test_statements.py",),
    ),
    Bug(
        name="a line that stands twice is no difference",
        file="payments/books_sql/find.sql",
        before=" where lines > 1\nunion all\nselect 'doubled'",
        after=" where lines > 9\nunion all\nselect 'doubled'",
        caught_by=(f"{MONEY}/test_reconciling.py",),
    ),
    Bug(
        name="refunds of the channel's console stay unknown",
        file="payments/books_sql/find.sql",
        before=" where is_final and (refund_id is null or",
        after=" where is_final and (",
        caught_by=(f"{MONEY}/test_reconciling.py",),
    ),
    Bug(
        name="a refund is ended by the statement though the channel says that it goes on",
        file="payments/repairing.py",
        before="    if report.outcome is Outcome.OPEN:\n",
        after="    if False:\n",
        caught_by=(f"{MONEY}/test_repairing.py",),
    ),
    Bug(
        name="refunds are repaired before the sales that they are of",
        file="payments/repairing.py",
        before="key=lambda each: (each.kind not in SALES, each.pk)",
        after="key=lambda each: (each.kind in SALES, each.pk)",
        caught_by=(f"{MONEY}/test_repairing.py",),
    ),
    Bug(
        name="what a person has decided is asked again every night",
        file="payments/cases.py",
        before="        _decide_differences(case)\n",
        after="        pass\n",
        caught_by=(f"{MONEY}/test_repairing.py",),
    ),
    Bug(
        name="a case about the books stays when the books agree",
        file="payments/reconciling.py",
        before="        close_case(statement.channel, subject)\n",
        after="        pass\n",
        caught_by=(f"{MONEY}/test_repairing.py",),
    ),
    Bug(
        name="one person settles by evidence alone",
        file="payments/evidence.py",
        before="    if actor == proposal.asked_by:",
        after="    if False:",
        caught_by=(f"{MONEY}/test_evidence.py",),
    ),
    Bug(
        name="who proposes says what the statement says",
        file="payments/evidence.py",
        before="    facts = read(proposal)\n",
        after="    facts = _facts_of(proposal)\n",
        caught_by=(f"{MONEY}/test_evidence.py",),
    ),
    Bug(
        name="goods leave while all of their money goes back",
        file="payments/shipping.py",
        before="    if _all_goes_back(order):",
        after="    if False:",
        caught_by=(f"{MONEY}/test_shipping.py",),
    ),
    Bug(
        name="money paid back by hand counts before a second person has agreed",
        file="payments/refunding.py",
        before="        actor=actor,\n        needs_approval=True,\n",
        after="        actor=actor,\n        needs_approval=False,\n",
        caught_by=(f"{MONEY}/test_paying_back.py",),
    ),
    Bug(
        name="a task of the cluster does what takes long",
        file="shop/alarms.py",
        before="if with_long or not kind.is_long]",
        after="]",
        caught_by=(f"{MONEY}/test_statements.py",),
    ),
)
