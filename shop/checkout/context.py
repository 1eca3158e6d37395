"""What every page needs to know, as the context processor `shop`."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from shop.checkout.cart import count_units


def shop(request: HttpRequest) -> dict[str, Any]:
    """The shop's name, the sandbox's address, the zone of the times shown, and the units in the cart.

    The cart is read only by a page that shows it: the page that says "busy" must not need the database.
    """
    return {
        "shop_name": settings.SHOP_NAME,
        "sandbox_url": settings.SANDBOX_URL,
        "time_zone": settings.DISPLAY_TIME_ZONE,
        "cart_units": SimpleLazyObject(lambda: count_units(request.session)),
    }
