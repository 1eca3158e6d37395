"""`python -m tests.badnight`: a bad night over five channels, and what of it is left for people.

Prints one block; exit 0 when only that is left which truly needs a person and the books balance, 1 when not.
"""

import argparse
import json
import sys
import time

from tests.badnight.ground import prepared


def main() -> int:
    """Run what the options say."""
    options = _read_options()
    began = time.monotonic()
    with prepared() as sandbox:
        # Only now do the settings know the database.
        from tests.badnight.night import run_night
        from tests.badnight.verdict import describe, to_document

        night = run_night(sandbox, options.trades, seed=options.seed)
    print(
        json.dumps(to_document(night)) if options.json else describe(night, took_s=time.monotonic() - began)
    )
    return 1 if night.violations else 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.badnight", description=__doc__.partition("\n")[0])
    parser.add_argument("--trades", type=int, default=5000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
