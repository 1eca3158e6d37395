"""`python -m tests.soak`: the soak for developers. Prints one block; exit 0 passed, 1 violations, 2 too little was tried."""

import argparse
import logging
import subprocess
import sys
import time
from pathlib import Path

from tests.programs import ROOT
from tests.soak.detecting import measure
from tests.soak.runs import Run, kills_only, soak
from tests.soak.verdict import PASSED, UNKNOWN, VIOLATED, describe
from tests.soak.ways import CHANNELS


def main() -> int:
    """Run what the options say."""
    options = _read_options()
    if options.data_dir and options.data_dir.exists():
        sys.stderr.write(f"{options.data_dir} is there already: a run needs a new folder.\n")
        return UNKNOWN
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of each connection that the nemesis cut
    began = time.monotonic()
    if options.detection:
        measured = measure(
            options.orders, seed=options.seed, channels=options.channels, folder=options.data_dir, quiet=False
        )
        print(_title("detection", options.seed, began), measured.describe(), sep="\n")
        return VIOLATED if measured.failures else PASSED
    more = {
        "folder": options.data_dir,
        "quiet": False,
        "arrive_every_s": 1 / options.rate if options.rate else 0.0,
        "channels": options.channels,
    }
    if options.kill_every:
        run = kills_only(options.orders, seed=options.seed, every_s=options.kill_every, **more)
    else:
        run = Run(options.orders, options.seed, options.every, **more)
    outcome = soak(run)
    print(describe(outcome, title=_title("kills" if options.kill_every else "soak", options.seed, began)))
    return outcome.exit_status


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.soak", description="Shoppers against faults, on real processes."
    )
    parser.add_argument("--orders", type=int, default=20_000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of habits and faults (default: %(default)s)")
    parser.add_argument(
        "--every", type=float, default=4.0, metavar="S", help="a fault about every S s (default: 4)"
    )
    parser.add_argument("--rate", type=float, metavar="N", help="at most N new orders a second")
    parser.add_argument(
        "--channels", type=_read_channels, default=CHANNELS, metavar="A,B", help="of all five, only these"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="a new folder in which everything is kept (default: one that is removed)",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--kill-every", type=float, metavar="S", help="only kills, one every S s, and no notification arrives"
    )
    mode.add_argument(
        "--detection",
        action="store_true",
        help="no notification arrives: time to detect; 450 orders are plenty",
    )
    return parser.parse_args()


def _read_channels(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(CHANNELS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(CHANNELS)}")
    return names


def _title(what: str, seed: int, began: float) -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    return f"{what}  seed {seed}  commit {asked.stdout.strip() or 'unknown'}  took {minutes} min {seconds} s"


if __name__ == "__main__":
    sys.exit(main())
