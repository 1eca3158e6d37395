"""A statement comes: the pages on which staff hand in a file, or have one fetched. Nothing is decided here."""

from datetime import date, timedelta
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from payments.admin.bookkeeping import (
    EXPECTED,
    ON_ITS_WAY,
    check_permission,
    list_url,
    page_of,
    say_differences,
    show_form,
)
from payments.channels.registry import CLASSES, class_of
from payments.deeds.base import channel as say_channel
from payments.deeds.records import record_action
from payments.models import Statement
from payments.reconciling import compare_around
from payments.statements import ask_statement, is_over, take_statement
from shop.sentences import Words, say, together
from shop.uploads import MAX_FILE_BYTES


class DayForm(forms.Form):
    """One day, which is over, of one channel that is configured here."""

    channel = forms.ChoiceField(label=_("Channel"))
    day = forms.DateField(
        label=_("Day"),
        help_text=_("of the channel's own calendar"),
        widget=forms.DateInput(attrs={"type": "date"}),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        used = [name for name in CLASSES if settings.CHANNELS.get(name) and class_of(name).has_statement]
        cast("forms.ChoiceField", self.fields["channel"]).choices = [
            (name, say_channel(name)) for name in used
        ]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if "channel" in given and "day" in given and not is_over(class_of(given["channel"]), given["day"]):
            self.add_error("day", gettext("This day is not over in the channel's calendar."))
        return given


class FileForm(DayForm):
    file = forms.FileField(
        label=_("File"),
        help_text=_("as the channel gives it, packed or not; up to 200 MB"),
        error_messages={"empty": _("This file is empty.")},
    )

    def clean_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["file"]
        if (file.size or 0) > MAX_FILE_BYTES:
            raise forms.ValidationError(gettext("This file is larger than 200 MB."))
        return file


def take_page(request: HttpRequest) -> HttpResponse:
    """Take in a file that a person has downloaded, and compare it."""
    check_permission(request)
    form = FileForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        channel, day, upload = (form.cleaned_data[name] for name in ("channel", "day", "file"))
        try:
            statement = take_statement(channel, day, upload.file, given_by=request.user.get_username())
            found = compare_around(statement).count()
        except EXPECTED as error:
            words = say(_("It cannot be taken in: %(why)s"), why=error)
            _record(request, "take_statement", Statement, f"{channel}:{day}", words, is_done=False)
            form.add_error("file", words)
        else:
            result = _say_taken(statement.entries, found)
            _record(request, "take_statement", statement, f"{channel}:{day}", result)
            messages.success(request, result)
            return redirect(page_of(statement))
    sentences = [
        gettext(
            "The file is read to its end before anything of it counts; then it is the statement of that day."
        ),
        gettext(
            "It is a word of yours: nothing is settled by it until a second person agrees or the channel's own comes."
        ),
        gettext("Once the channel's own statement of a day is here, no other file of that day is taken in."),
    ]
    return show_form(request, gettext("Take in a file"), sentences, form, back=list_url())


def fetch_page(request: HttpRequest) -> HttpResponse:
    """Have a statement fetched now, in the background."""
    check_permission(request)
    yesterday = date.today() - timedelta(days=1)  # noqa: DTZ011 - a proposal, the person chooses
    form = DayForm(request.POST or None, initial={"day": yesterday})
    if request.method == "POST" and form.is_valid():
        channel, day = form.cleaned_data["channel"], form.cleaned_data["day"]
        ask_statement(channel, day)
        _record(request, "ask_statement", Statement, f"{channel}:{day}", _("asked for"))
        what = say(_("%(channel)s, %(day)s."), channel=say_channel(channel), day=day)
        messages.success(request, together(what, ON_ITS_WAY))
        return redirect(list_url())
    sentences = [gettext("The channel is asked for its statement of that day, also if one has come already.")]
    return show_form(request, gettext("Fetch now"), sentences, form, back=list_url())


def _say_taken(lines: int, differences: int) -> str:
    """ "Taken in: 2 lines, no difference."."""
    counted = ngettext_lazy("%(count)d line", "%(count)d lines", lines)
    return say(
        _("Taken in: %(lines)s, %(differences)s."),
        lines=say(counted if lines else _("no line"), count=lines),
        differences=say_differences(differences),
    )


def _record(
    request: HttpRequest,
    action: str,
    about: Statement | type[Statement],
    subject: str,
    result: Words,
    *,
    is_done: bool = True,
) -> None:
    user = cast("User", request.user)
    record_action(user, action, about, subject=subject, result=result, is_done=is_done)
