"""A statement comes: the pages on which staff hand in a file, or have one fetched. Nothing is decided here."""

from datetime import date, timedelta
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from payments.admin.bookkeeping import (
    EXPECTED,
    ON_ITS_WAY,
    check_permission,
    count_of,
    list_url,
    page_of,
    show_form,
)
from payments.admin.records import record_action
from payments.channels.registry import CLASSES, class_of, title_of
from payments.models import Statement
from payments.reconciling import compare_around
from payments.statements import ask_statement, is_over, take_statement
from shop.uploads import MAX_FILE_BYTES


class DayForm(forms.Form):
    """One day, which is over, of one channel that is configured here."""

    channel = forms.ChoiceField()
    day = forms.DateField(
        help_text="of the channel's own calendar", widget=forms.DateInput(attrs={"type": "date"})
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        used = [name for name in CLASSES if settings.CHANNELS.get(name) and class_of(name).has_statement]
        cast("forms.ChoiceField", self.fields["channel"]).choices = [(name, title_of(name)) for name in used]

    def clean(self) -> dict[str, Any]:
        told = super().clean() or {}
        if "channel" in told and "day" in told and not is_over(class_of(told["channel"]), told["day"]):
            self.add_error("day", "This day is not over in the channel's calendar.")
        return told


class FileForm(DayForm):
    file = forms.FileField(
        help_text="as the channel gives it, packed or not; up to 200 MB",
        error_messages={"empty": "This file is empty."},
    )

    def clean_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["file"]
        if (file.size or 0) > MAX_FILE_BYTES:
            raise forms.ValidationError("This file is larger than 200 MB.")
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
            words = f"It cannot be taken in: {error}"
            record_action(
                request, "take_statement", Statement, subject=f"{channel}:{day}", result=words, is_done=False
            )
            form.add_error("file", words)
        else:
            result = f"Taken in: {count_of(statement.entries, 'line')}, {count_of(found, 'difference')}."
            record_action(request, "take_statement", statement, subject=f"{channel}:{day}", result=result)
            messages.success(request, result)
            return redirect(page_of(statement))
    sentences = [
        "The file is read to its end before anything of it counts; then it is the statement of that day.",
        "It is a word of yours: nothing is settled by it until a second person agrees or the channel's own comes.",
        "Once the channel's own statement of a day is here, no other file of that day is taken in.",
    ]
    return show_form(request, "Take in a file", sentences, form, back=list_url())


def fetch_page(request: HttpRequest) -> HttpResponse:
    """Have a statement fetched now, in the background."""
    check_permission(request)
    yesterday = date.today() - timedelta(days=1)  # noqa: DTZ011 - a proposal, the person chooses
    form = DayForm(request.POST or None, initial={"day": yesterday})
    if request.method == "POST" and form.is_valid():
        channel, day = form.cleaned_data["channel"], form.cleaned_data["day"]
        ask_statement(channel, day)
        record_action(request, "ask_statement", Statement, subject=f"{channel}:{day}", result="asked for")
        messages.success(request, f"{title_of(channel)}, {day}. {ON_ITS_WAY}")
        return redirect(list_url())
    sentences = ["The channel is asked for its statement of that day, also if one has come already."]
    return show_form(request, "Fetch now", sentences, form, back=list_url())
