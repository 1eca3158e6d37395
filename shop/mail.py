"""Sending mail. Without a mail server the mails are files in the data folder, readable by its owner only."""

from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage


def send_mail(*, to: str, subject: str, text: str, message_id: str) -> None:
    """Send one mail. `message_id` is the same for a repeat, so that mail programs show it once.

    Raises OSError (SMTPException is one) when it could not be handed over. Never inside a transaction.
    """
    if not settings.EMAIL_HOST:
        Path(settings.EMAIL_FILE_PATH).mkdir(mode=0o700, parents=True, exist_ok=True)
    mail = EmailMessage(subject, text, to=[to], headers={"Message-ID": f"<{message_id}>"})
    mail.send()
