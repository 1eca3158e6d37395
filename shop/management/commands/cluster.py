"""`manage.py cluster`: django-q2's cluster as `watch` wants it, every process of it ending with its parent."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from shop.processes import die_with_parent


class Command(BaseCommand):
    help = "Run the task cluster. Started by watch; by hand it ends with the shell's process."
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        # A killed sentinel would leave workers behind that look alive and never work again.
        die_with_parent()
        call_command("qcluster")
