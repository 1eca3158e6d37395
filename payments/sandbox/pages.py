"""The two pages for people: the gateway's desk with trades and faults, and the wallet on the shopper's phone.

Plain HTML and forms, no scripts, nothing loaded from anywhere; everything that came from outside is escaped.
Each form does one deed of the control API and leads back to its page.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from werkzeug import Request, Response

from payments.sandbox.clock import now_us, to_datetime, to_iso
from payments.sandbox.control import Control, ControlError, Door
from payments.sandbox.fields import BadField, read_integer, split_url
from payments.sandbox.plans import API_RATES, NOTIFY_RATES
from payments.sandbox.records import Trade, find_hindrance
from payments.sandbox.side import Side

_TEMPLATES = Path(__file__).with_name("templates")
_SYMBOLS = {"CNY": "¥", "USD": "$"}
_NEWEST = 100
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "lose": ("Lose every notification", {"notify": {"drop": 1}}),
    "double": ("Notify everything twice", {"notify": {"duplicate": 1}}),
    "forge": ("Forge every notification", {"notify": {"forge": 1}}),
    "down": ("Answer every call with an error", {"api": {"error_before": 1}}),
    "silent": ("Act, but never answer", {"api": {"timeout_after": 1}}),
    "slow": ("Answer up to 5 s late", {"api": {"slow_s": 5}}),
}

# What the wallet says: mood, headline, one sentence; whether it offers to pay. The words for "agreed" are the channel's.
_WALLET_STATES = {
    "open": ("", "", "", True),
    "declined": ("waiting", "You declined", "Nothing was charged. You can still pay.", True),
    "paid": ("done", "Paid", "You can go back to the shop.", False),
    "closed": (
        "wrong",
        "This order is closed",
        "The shop takes no more money for it. Nothing was charged.",
        False,
    ),
    "expired": ("wrong", "The time to pay is over", "Nothing was charged.", False),
    "stale": ("wrong", "This code is too old", "Nothing was charged. Ask the shop for a new code.", False),
}


class Pages:
    """The pages over the control API's deeds."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.ledger = control.ledger

    @property
    def doors(self) -> list[tuple[str, str, Door]]:
        """Method, path and door of each page and of each form."""
        return [
            ("GET", "/_sandbox/", self._show_desk),
            ("POST", "/_sandbox/", self._use_desk),
            ("POST", "/_sandbox/switches", self._switch_faults),
            ("GET", "/_sandbox/wallet", self._show_wallet),
            ("POST", "/_sandbox/wallet", self._use_wallet),
        ]

    # The wallet

    def _show_wallet(self, request: Request) -> Response:
        content = request.args.get("content", "")
        found = self._look(content)
        if found is None:
            problem = "No payment belongs to this code." if content else ""
            return _render("Wallet", "wallet_empty.html", status=404 if content else 200, problem=problem)
        side, trade, state = found
        return _show_payment(side, trade, content, state)

    def _look(self, content: str) -> tuple[Side, Trade, str] | None:
        """What a shopper finds who scans a code: some channels know of a trade only from then on."""
        with self.ledger.transaction():
            found = self.ledger.find_by_handle(content)
            if found is None:
                return None
            side = self.control.sides[found[0].channel]
            trade = side.look(found[0])
        self.control.notifier.wake()
        return side, trade, _find_state(side, trade, valid_until=found[1])

    def _use_wallet(self, request: Request) -> Response:
        content, deed = request.form.get("content", ""), request.form.get("deed", "")
        found = self._look(content)
        if found is not None:
            side, trade, state = found
            if state in ("open", "declined"):
                self._do(deed, side.name, trade.out_trade_no)
        return _redirect(f"/_sandbox/wallet?{urlencode({'content': content})}")

    # The desk

    def _show_desk(self, request: Request, problem: str = "", status: int = 200) -> Response:
        with self.ledger.transaction():
            trades = self.ledger.list_trades(newest=_NEWEST)
            rows = Markup("").join(self._fill_row(trade) for trade in trades)
        table = _fill("trades.html", rows=rows) if trades else _fill("no_trades.html")
        plan = self.control.faults.describe()
        return _render(
            "Sandbox gateway",
            "desk.html",
            status=status,
            channels=", ".join(s.title for s in self.control.sides.values()),
            problem=_fill("problem.html", problem=problem) if problem else "",
            trades=table,
            verdict=_describe_plan(plan),
            presets=_fill_presets(plan),
            seed=plan["seed"],
            api=_fill_rates("api", (*API_RATES, "slow_s"), plan["api"]),
            notify=_fill_rates("notify", (*NOTIFY_RATES, "delay_s"), plan["notify"]),
            script=_dump_script(plan),
        )

    def _fill_row(self, trade: Trade) -> Markup:
        described = self.ledger.describe_trade(trade)
        status = self._name_status(trade)
        content = self.ledger.find_newest_handle(trade)
        return _fill(
            "trade.html",
            created_at=_moment(trade.created_at),
            channel=trade.channel,
            number=trade.out_trade_no,
            channel_number=trade.channel_number or "",
            amount=_money(trade),
            status=status,
            mood=_MOODS[status],
            refunds=_fill_refunds(trade, described["refunds"]),
            tries=_fill_tries(described["notifications"]),
            wallet=_fill("wallet_link.html", query=urlencode({"content": content})) if content else "",
            deeds=Markup("").join(_fill_deed(trade, deed) for deed in _DEEDS[status]),
            refund=_fill_refund_form(trade, described["refunds"]),
        )

    def _name_status(self, trade: Trade) -> str:
        if find_hindrance(trade, now_us()) == "expired":
            return "EXPIRED"
        has_agreed = trade.status == "OPEN" and self.control.sides[trade.channel].has_agreed(trade)
        return "AGREED" if has_agreed else trade.status

    def _use_desk(self, request: Request) -> Response:
        form = request.form
        channel, number = form.get("channel", ""), form.get("out_trade_no", "")
        try:
            if form.get("deed") == "refund":
                amount = read_integer(
                    {"amount": _read_number(form.get("amount", ""), "amount")}, "amount", least=1
                )
                self.control.refund(channel, number, amount, form.get("channel_number"))
            else:
                self._do(form.get("deed", ""), channel, number)
        except ControlError as error:
            return self._show_desk(request, str(error), error.status)
        except BadField as wrong:
            return self._show_desk(request, str(wrong), 400)
        return _redirect("/_sandbox/")

    def _do(self, deed: str, channel: str, out_trade_no: str) -> None:
        if deed == "pay":
            self.control.pay(channel, out_trade_no)
        elif deed == "decline":
            self.control.decline(channel, out_trade_no)
        elif deed == "notify":
            self.control.notify(channel, out_trade_no)
        else:
            raise ControlError(400, "invalid", "deed must be pay, decline or notify", "deed")

    def _switch_faults(self, request: Request) -> Response:
        try:
            self._set_faults(request)
        except BadField as wrong:
            return self._show_desk(request, str(wrong), 400)
        return _redirect("/_sandbox/#faults")

    def _set_faults(self, request: Request) -> None:
        preset = request.form.get("preset")
        if preset is None:
            self.control.faults.set(_read_switches(request))
        elif preset == "clear":
            self.control.faults.clear()
        elif preset in PRESETS:
            self.control.faults.set(PRESETS[preset][1])
        else:
            raise BadField("preset", f"must be clear or one of {', '.join(PRESETS)}")


_MOODS = {"OPEN": "waiting", "AGREED": "waiting", "PAID": "done", "CLOSED": "quiet", "EXPIRED": "quiet"}
_DEEDS = {"OPEN": ("pay", "decline"), "AGREED": (), "PAID": ("notify",), "CLOSED": (), "EXPIRED": ()}
_DEED_WORDS = {"pay": "Pay", "decline": "Decline", "notify": "Notify again"}


def _find_state(side: Side, trade: Trade, valid_until: int) -> str:
    now = now_us()
    hindrance = find_hindrance(trade, now)
    if hindrance is not None:
        return hindrance
    if side.has_agreed(trade):
        return "agreed"
    if now >= valid_until:
        return "stale"
    return "open" if trade.declined_at is None else "declined"


def _fill_deed(trade: Trade, deed: str) -> Markup:
    return _fill(
        "deed.html",
        channel=trade.channel,
        number=trade.out_trade_no,
        deed=deed,
        words=_DEED_WORDS[deed],
        kind="primary" if deed == "pay" else "",
    )


def _show_payment(side: Side, trade: Trade, content: str, state: str) -> Response:
    mood, headline, sentence, is_payable = _find_words(side, state)
    amount = _money(trade)
    buttons = _fill("wallet_buttons.html", content=content, pay=side.wallet.pay, amount=amount)
    return _render(
        f"{headline or side.wallet.pay} · {side.wallet.title}",
        "wallet.html",
        wallet=side.wallet.title,
        channel=side.title,
        payee=side.payee,
        initial=side.payee[:1],
        amount=amount,
        description=trade.description,
        number=trade.out_trade_no,
        notice=_fill_state(mood, headline, sentence),
        receipt=_fill_receipt(trade),
        buttons=buttons if is_payable else "",
        way_back=_fill_way_back(side, trade, state),
    )


def _find_words(side: Side, state: str) -> tuple[str, str, str, bool]:
    return ("done", *side.wallet.agreed, False) if state == "agreed" else _WALLET_STATES[state]


def _fill_state(mood: str, headline: str, sentence: str) -> Markup:
    if not headline:
        return Markup("")
    return _fill("wallet_state.html", mood=mood, headline=headline, sentence=sentence)


def _fill_receipt(trade: Trade) -> Markup:
    if trade.paid_at is None:
        return Markup("")
    return _fill("wallet_receipt.html", paid_at=_moment(trade.paid_at), number=trade.channel_number)


def _fill_way_back(side: Side, trade: Trade, state: str) -> Markup:
    """The link to the shop, where the channel's own page has one; an address of the merchant's, so not just any."""
    place = side.read_return(trade) if state in ("paid", "agreed", "declined") else ""
    url = split_url(place)
    if url is None or url.scheme not in ("https", "http"):
        return Markup("")
    return _fill("wallet_way_back.html", place=place)


def _fill_refund_form(trade: Trade, refunds: list[dict[str, Any]]) -> Markup:
    rest = trade.amount - sum(refund["amount"] for refund in refunds if refund["status"] != "CLOSED")
    if trade.status != "PAID" or rest == 0:
        return Markup("")
    return _fill(
        "refund.html",
        channel=trade.channel,
        number=trade.out_trade_no,
        channel_number=trade.channel_number,
        rest=rest,
    )


def _fill_refunds(trade: Trade, refunds: list[dict[str, Any]]) -> Markup:
    lines = [f"{_format(refund['amount'], trade.currency)} {refund['status'].lower()}" for refund in refunds]
    return Markup("<br>").join(lines) if lines else Markup("–")


def _fill_tries(tries: list[dict[str, Any]]) -> Markup:
    if not tries:
        return Markup("–")
    last = tries[-1]
    words = "taken" if last["acknowledged"] else f"not taken ({last['status'] or last['error']})"
    return Markup("{} × · {}").format(len(tries), words)


def _fill_presets(plan: dict[str, Any]) -> Markup:
    asked = {"notify": plan["notify"], "api": plan["api"]}
    return Markup("").join(
        _fill("preset.html", name=name, words=words, pressed=_is_in_force(document, asked))
        for name, (words, document) in PRESETS.items()
    )


def _is_in_force(preset: dict[str, Any], asked: dict[str, Any]) -> str:
    return "true" if {"notify": {}, "api": {}} | preset == asked else "false"


def _fill_rates(group: str, names: tuple[str, ...], rates: dict[str, float]) -> Markup:
    return Markup("").join(
        _fill(
            "rate.html",
            field=f"{group}.{name}",
            words=name.replace("_s", " up to, s").replace("_", " "),
            most=3600 if name.endswith("_s") else 1,
            value=rates.get(name, 0),
        )
        for name in names
    )


def _read_switches(request: Request) -> dict[str, Any]:
    """The form as the document that the control API takes; what is 0 or empty is left out."""
    form = request.form
    document: dict[str, Any] = {
        "seed": _read_number(form.get("seed") or "0", "seed"),
        "api": {},
        "notify": {},
    }
    for group, names in (("api", (*API_RATES, "slow_s")), ("notify", (*NOTIFY_RATES, "delay_s"))):
        given = {name: _read_number(form.get(f"{group}.{name}") or "0", f"{group}.{name}") for name in names}
        document[group] = {name: value for name, value in given.items() if value != 0}
    try:
        document["script"] = json.loads(form.get("script") or "[]")
    except (ValueError, RecursionError) as error:
        raise BadField("script", "must be a JSON list") from error
    return document


def _read_number(text: str, field: str) -> float:
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError as error:
        raise BadField(field, "must be a number") from error


def _describe_plan(plan: dict[str, Any]) -> str:
    if not (plan["notify"] or plan["api"] or plan["script"]):
        return "Everything goes well."
    rates = [
        f"{name.replace('_', ' ')} {rate:g}"
        for group in ("api", "notify")
        for name, rate in plan[group].items()
    ]
    script = [f"{entry['what']} on {entry['operation']}" for entry in plan["script"]]
    return "In force: " + ", ".join(rates + script) + "."


def _dump_script(plan: dict[str, Any]) -> str:
    entries = [{name: value for name, value in entry.items() if name != "seen"} for entry in plan["script"]]
    return json.dumps(entries, ensure_ascii=False, indent=1) if entries else ""


def _money(trade: Trade) -> str:
    return _format(trade.amount, trade.currency)


def _format(amount: int, currency: str) -> str:
    text = f"{amount // 100:,}.{amount % 100:02d}"
    if currency == "BRL":
        return "R$\N{NO-BREAK SPACE}" + text.translate(str.maketrans(",.", ".,"))
    return _SYMBOLS.get(currency, f"{currency} ") + text


def _moment(moment_us: int) -> Markup:
    shown = to_datetime(moment_us).strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time datetime="{}">{}</time>').format(to_iso(moment_us), shown)


def _render(title: str, template: str, *, status: int = 200, **values: Any) -> Response:
    style = Markup(_read_template("style.css"))  # noqa: S704  our own file
    page = _fill("page.html", title=title, style=style, body=_fill(template, **values))
    return Response(page, status, headers=_HEADERS, content_type="text/html; charset=utf-8")


def _redirect(place: str) -> Response:
    return Response(status=303, headers={"Location": place})


def _fill(template: str, **values: Any) -> Markup:
    """A template with its values escaped, except those that are markup of ours already."""
    return Markup(_read_template(template)).format(**values)  # noqa: S704  our own file


@cache
def _read_template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
