"""The tests are tested: bugs that somebody might write are planted, and caught.

All of them: `python -m tests.planted`, which prints the share. Here each still applies, and some are really run.
"""

import pytest

from tests.planted.__main__ import main
from tests.planted.bugs import BUGS, Bug
from tests.planted.planting import ROOT, DoesNotApply, change, copy_product, run_tests
from tests.planted.servers import urls_for

SAMPLE = ("the amount of a success is not compared", "a claim does not move the alarm on")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_bug_still_applies(bug, tmp_path):
    source = ROOT / bug.file
    (tmp_path / bug.file).parent.mkdir(parents=True)
    (tmp_path / bug.file).write_text(source.read_text())
    change(bug, tmp_path)


def test_there_are_thirty_or_more_of_different_names():
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 30


def test_bug_that_does_not_apply_any_more_fails_loudly(tmp_path):
    bug = Bug(name="gone", file="payments/settling.py", before="not there", after="", caught_by=())
    copy_product(tmp_path)
    with pytest.raises(DoesNotApply):
        change(bug, tmp_path)


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.name in SAMPLE], ids=lambda bug: bug.name)
def test_bug_is_caught_and_without_it_the_same_tests_pass(bug, tmp_path, worker_id):
    copy_product(tmp_path)
    database_url, redis_url = urls_for(f"planted_{worker_id}")
    where = {"database_url": database_url, "redis_url": redis_url}
    assert run_tests(tmp_path, bug.caught_by, **where) == ()
    change(bug, tmp_path)
    assert run_tests(tmp_path, bug.caught_by, **where)


def test_trouble_with_the_servers_catches_no_bug(tmp_path):
    copy_product(tmp_path)
    nobody = {"database_url": "postgresql://x@127.0.0.1:1/x", "redis_url": "redis://127.0.0.1:1/0"}
    with pytest.raises(RuntimeError):
        run_tests(tmp_path, ("tests/orders/test_placing.py",), **nobody)


def test_word_that_no_bug_has_runs_nothing(capsys):
    assert main(["no bug is named so"]) == 2
    assert "no planted bug" in capsys.readouterr().err
