"""Puts the demo's goods on the shelf. What is there already keeps its price and stock, and gets the words it lacks."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from orders.models import Product

CATALOGUE = Path(__file__).resolve().parents[2] / "catalogue.json"


class Command(BaseCommand):
    help = "Create the products of the demo catalogue that are missing, by SKU."

    def handle(self, *args: Any, **options: Any) -> None:
        goods = json.loads(CATALOGUE.read_text())
        before = Product.objects.count()
        Product.objects.bulk_create(
            (Product(**good, supplied=good["stock"]) for good in goods), ignore_conflicts=True
        )
        created = Product.objects.count() - before
        for good in goods:  # an earlier shop spoke English only
            words = {name: good[name] for name in ("name_zh_hans", "description_zh_hans")}
            Product.objects.filter(sku=good["sku"], name=good["name"], name_zh_hans="").update(**words)
        self.stdout.write(f"{created} products created, {len(goods) - created} were there already.")
