"""What the checks of the configuration find, told in the log of a process that starts all the same.

One channel's bad setting must stop neither the web nor a guardian of the others' money. Nothing is changed here.
"""

import structlog
from django.core import checks

log = structlog.get_logger("nodrop.findings")


def tell_findings() -> None:
    """One line for each finding: errors as errors. Never raises: whoever calls it has work to do."""
    try:
        found = [message for message in checks.run_checks() if not message.is_silenced()]
    except Exception as error:  # noqa: BLE001  the edge: that a check cannot be made is a finding too
        log.error("configuration could not be checked", error=type(error).__name__)  # noqa: TRY400
        return
    for message in found:
        tell = log.error if message.is_serious() else log.warning
        tell("configuration", id=message.id, finding=message.msg, hint=message.hint)
