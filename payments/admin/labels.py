"""What rows and their columns are called, in the language of whoever looks.

Django makes a name of each model and field; here it becomes one that is looked up. Written into the models, each word
would be a migration that changes nothing in the database.
"""

from django.apps import apps
from django.utils.translation import gettext_lazy
from django.utils.translation import gettext_noop as _

OURS = ("shop", "orders", "payments")

# Every name that a model or a field of ours has, and the words that rows hold in place of a label.
NAMES = (
    _("alarm"), _("alarms"), _("event"), _("events"), _("heartbeat"), _("heartbeats"),
    _("idempotency key"), _("idempotency keys"), _("product"), _("products"), _("order"), _("orders"),
    _("order line"), _("order lines"), _("statement"), _("statements"), _("entry"), _("entrys"),
    _("difference"), _("differences"), _("call"), _("calls"), _("refused callback"), _("refused callbacks"),
    _("staff action"), _("staff actions"), _("proposal"), _("proposals"), _("payment"), _("payments"),
    _("receipt"), _("receipts"), _("refund"), _("refunds"), _("callback"), _("callbacks"), _("case"), _("cases"),
    _("horizon"), _("horizons"), _("forgotten to"),
    # of alarms, events and keys
    _("ID"), _("kind"), _("subject"), _("due at"), _("last at"), _("attempts"), _("place"), _("is hurried"),
    _("failures"), _("tried at"), _("created at"), _("order number"), _("subject kind"), _("from status"),
    _("to status"), _("source"), _("actor"), _("note"), _("at"), _("name"), _("scope"), _("key"),
    _("body hash"), _("status"), _("lease until"),
    # of what has been counted
    _("tally"), _("tallies"), _("up to"), _("counts"),
    # of API keys
    _("API key"), _("API keys"), _("secret hash"), _("old hash"), _("old until"), _("scopes"), _("revoked at"),
    _("last used at"),
    # of products and orders
    _("sku"), _("description"), _("name in Chinese"), _("description in Chinese"), _("picture"), _("price"),
    _("currency"), _("stock"), _("supplied"), _("is sold"), _("number"), _("amount"), _("email"), _("phone"),
    _("address"), _("language"), _("token salt"), _("link since"), _("link asked at"), _("content hash"),
    _("version"), _("holds stock"), _("expires at"), _("was extended"), _("usual expires at"), _("close reason"),
    _("closed at"), _("unit price"), _("quantity"),
    # of the books
    _("channel"), _("day"), _("digest"), _("origin"), _("given by"), _("entries"), _("is current"), _("read at"),
    _("compared at"), _("totals"), _("channel number"), _("fee"), _("payment number"), _("trade number"),
    _("code"), _("severity"), _("theirs"), _("ours"), _("state"), _("is by hand"), _("found at"), _("ended at"),
    # of calls, and of what people did
    _("operation"), _("outcome"), _("took ms"), _("reason"), _("headers"), _("body"), _("action"), _("is done"),
    _("result"), _("evidence"), _("paid at"), _("asked by"), _("decided by"), _("asked at"), _("decided at"),
    # of money and cases
    _("scene"), _("request"), _("payer"), _("handle"), _("dead at"), _("superseded at"), _("is unsure"),
    _("close unanswered since"), _("nothing sent"), _("capture asked at"), _("captures"), _("queried at"),
    _("receipt class"), _("mailed at"), _("resends"), _("approved by"), _("sent at"), _("is told"), _("message id"),
    _("report"), _("received at"), _("taken at"), _("owner"), _("deadline"), _("opened at"), _("resolved at"),
    _("resolution"),
    # of other systems
    _("endpoint"), _("endpoints"), _("delivery"), _("deliveries"), _("business event"), _("business events"),
    _("stream"), _("sequence"), _("type"), _("data"), _("position"), _("url"), _("types"), _("secret"),
    _("old secret"), _("old until"), _("failing since"), _("failed at"), _("rests until"), _("well since"),
    _("off at"), _("off why"), _("removed at"), _("since position"), _("event"), _("tries"), _("first tried at"),
    _("answer"),
)  # fmt: skip
CODES = (
    # statuses and sources, as rows and evidence hold them
    _("API"), _("UNPAID"), _("PAYING"), _("PAID"), _("CLOSED"), _("FAILED"), _("READY_FOR_SHIPMENT"), _("SHIPPED"),
    _("COMPLETED"), _("REFUNDED"), _("PENDING_APPROVAL"), _("REFUNDING"), _("REJECTED"), _("SHOPPER"), _("STAFF"),
    _("SYSTEM"), _("RESPONSE"), _("CALLBACK"), _("QUERY"), _("STATEMENT"),
    # what a channel was asked, and what it answered
    _("create"), _("query"), _("close"), _("capture"), _("query_refund"), _("succeeded"), _("approved"),
    _("open"), _("closed"), _("refused"), _("not_found"), _("unknown"), _("unreachable"), _("error"),
    # what else happens to an order
    _("link"), _("mail"), _("RENEWED"), _("LINK"), _("RETURNED"),
    # what staff did
    _("ship order"), _("complete order"), _("resend receipt"), _("renew link"), _("cancel order"),
    _("ask payment"), _("close payment"), _("refund payment"), _("refund receipt"), _("payback receipt"),
    _("propose settlement"), _("approve settlement"), _("reject settlement"), _("withdraw settlement"),
    _("approve refund"), _("reject refund"), _("take case"), _("assign case"), _("resolve case"),
    _("replay callback"), _("compare"), _("repair safe"), _("repair"), _("export"), _("take statement"),
    _("ask statement"), _("make key"), _("rotate key"), _("change scopes"), _("revoke key"),
    _("test endpoint"), _("switch off endpoint"), _("switch on endpoint"), _("resend dead"), _("move endpoint"),
    _("remove endpoint"), _("resend delivery"), _("add endpoint"), _("rotate secret"),
    # what came of a delivery, where there was no HTTP status
    _("address"), _("refused address"), _("no connection"), _("tls"), _("timeout"), _("broken"), _("removed"),
    _("no secret"),
    # what is tried again and again
    _("deliver"), _("forget secret"), _("mail endpoint"),
    _("query payment"), _("recheck payment"), _("capture payment"), _("expire order"), _("take callback"),
    _("follow up"), _("mail receipt"), _("mail link"), _("mail returned"), _("fetch statement"), _("send refund"),
)  # fmt: skip


def name_rows() -> None:
    """Let models and fields of ours be called in the language of whoever looks."""
    for label in OURS:
        for model in apps.get_app_config(label).get_models():
            options = model._meta
            options.verbose_name = gettext_lazy(str(options.verbose_name))
            options.verbose_name_plural = gettext_lazy(str(options.verbose_name_plural))
            for field in options.fields:
                field.verbose_name = gettext_lazy(str(field.verbose_name))


name_rows()
