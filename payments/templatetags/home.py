"""The cards of the back office's first page, for its template."""

from typing import Any, cast

from django import template
from django.contrib.auth.models import User

from payments.admin.home import list_state, list_waiting
from payments.home import read_home

register = template.Library()


@register.inclusion_tag("admin/home_cards.html", takes_context=True)
def home_cards(context: dict[str, Any]) -> dict[str, Any]:
    """What waits for a person, and how it goes, as far as who looks may see it."""
    user = cast("User", context["request"].user)
    home = read_home(user)
    waiting, state = list_waiting(home, user), list_state(home, user)
    is_calm = not any(line.mood == "wrong" for card in state for line in card.lines)
    return {
        "waiting": waiting,
        "state": state,
        "is_calm": is_calm and not waiting and user.has_perm("payments.view_case"),
    }
