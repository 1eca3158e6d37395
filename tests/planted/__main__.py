"""`python -m tests.planted [WORD…]`: plant every bug (whose name holds one of the words), print what caught it and the
share. Exit 1 when one was not caught, 2 when no name holds any of the words.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from tests.planted.bugs import BUGS, Bug  # noqa: E402
from tests.planted.planting import change, copy_product, run_tests  # noqa: E402
from tests.planted.servers import urls_for  # noqa: E402


def main(words: list[str]) -> int:
    """See that the tests pass, then plant, run, count."""
    wanted = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    if not wanted:
        print("no planted bug is named so", file=sys.stderr)
        return 2
    failed = _run(None, tuple(sorted({test for bug in wanted for test in bug.caught_by})))
    if failed:
        print(f"without any bug these fail already: {', '.join(failed)}")
        return 1
    caught = [bug for bug in wanted if _plant(bug)]
    print(f"{len(caught)} of {len(wanted)} planted bugs caught ({len(caught) / len(wanted):.0%})")
    return 0 if caught == wanted else 1


def _plant(bug: Bug) -> bool:
    began = time.monotonic()
    failed = _run(bug, bug.caught_by)
    word, by = ("caught", f" · by {failed[0].rpartition('::')[2]}") if failed else ("MISSED", "")
    print(f"{word:<8}{time.monotonic() - began:6.1f} s  {bug.name}{by}", flush=True)
    return bool(failed)


def _run(bug: Bug | None, tests: tuple[str, ...]) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = Path(folder) / "product"
        copy_product(tree)
        if bug:
            change(bug, tree)
        database_url, redis_url = urls_for(f"planted_{os.getpid()}")
        return run_tests(tree, tests, database_url=database_url, redis_url=redis_url)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
