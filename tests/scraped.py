"""What a scraper would read, in two shapes that tests can ask."""

from prometheus_client.parser import text_string_to_metric_families

from shop.scraping import scrape


class Scraped:
    """One answer of /metrics."""

    def __init__(self, text: str | None = None) -> None:
        self.text = scrape().decode() if text is None else text
        families = list(text_string_to_metric_families(self.text))
        self.helps = {family.name: family.documentation for family in families}
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of a series; None where there is none. `from` and `class` are written with a line behind them."""
        wanted = frozenset((label.rstrip("_"), value) for label, value in labels.items())
        return self.samples.get((f"nodrop_{name}", wanted))
