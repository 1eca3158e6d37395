"""Who pays in these tests. Nothing of Django here: the soak's shoppers know the shop over HTTP only."""

from typing import Any

# What somebody who pays a boleto tells about herself; the tax number is Stripe's own for tests.
MARIA: dict[str, Any] = {
    "tax_id": "000.000.000-00",
    "address": {
        "line1": "Rua A 1",
        "city": "São Paulo",
        "state": "SP",
        "postal_code": "01001-000",
        "country": "BR",
    },
}
