"""Lists of a million rows: searched by exact numbers, each by its own index, and in no order that an index does not give."""

from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from shop.admin import LEAFED_THROUGH as LEAFED_THROUGH
from shop.admin import ReadOnlyAdmin


class BigListAdmin(ReadOnlyAdmin):
    """`found_by`: the lookups by which a search finds a row, each one indexed read; both as typed and in upper case."""

    found_by: tuple[str, ...] = ()
    # No index orders a million rows by whatever column somebody presses.
    sortable_by = ()
    ordering = ("-id",)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return self.found_by

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        """One read for each way to be found: an OR over tables would read all of them."""
        term = search_term.strip()
        if not term:
            return queryset, False
        rows = self.model._default_manager.order_by()
        spellings = {term, term.upper()}
        keys: set[Any] = set()
        for lookup in self.found_by:
            found = rows.filter(**{f"{lookup}__in": spellings}).values_list("pk", flat=True)
            keys.update(found[:LEAFED_THROUGH])
        return queryset.filter(pk__in=keys), False
