"""`manage.py webhooks`: words for people, JSON for programs, an exit code that says how it is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from payments.models import StaffAction
from shop.models import Delivery, Endpoint
from tests.listening import Listener, listening, status
from tests.telling import make_endpoint, tell

pytestmark = pytest.mark.django_db(transaction=True)
UNKNOWN = "W00000000000"


@pytest.fixture
def receiver(settings) -> Iterator[Listener]:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    with listening() as listener:
        yield listener


@pytest.fixture
def endpoint(receiver) -> Endpoint:
    return make_endpoint(receiver.url, note="stock")


@pytest.fixture
def run(capsys) -> Any:
    """Runs the command; its exit status and what it says, read where it is JSON."""

    def run(*args: str) -> tuple[int, Any]:
        code = 0
        try:
            call_command("webhooks", *args)
        except SystemExit as end:
            code = int(end.code or 0)
        except CommandError as error:
            return error.returncode, str(error)
        out = capsys.readouterr().out
        return code, json.loads(out) if "--json" in args else out

    return run


def test_list_of_none_says_so(run):
    assert run() == (0, "No other system is told of anything.\n")
    assert run("list", "--json") == (0, [])


def test_list_tells_how_each_fares_and_its_exit_code_whether_all_are_well(run, endpoint):
    tell("N1")
    code, [row] = run("list", "--json")
    assert (code, row["state"], row["waiting"], row["note"]) == (0, "well", 1, "stock")
    assert run("off", endpoint.number)[0] == 0
    code, out = run()
    assert code == 1
    assert "off" in out


def test_added_endpoint_is_told_with_its_secret_once(run, receiver):
    code, told = run("add", receiver.url, "--note=stock", "--type=order.paid", "--json")
    endpoint = Endpoint.objects.get()
    assert (code, told["number"]) == (0, endpoint.number)
    assert told["secret"].startswith("whsec_")
    assert told["secret"] not in endpoint.secret
    assert endpoint.types == ["order.paid"]
    assert "whsec_" not in run("list")[1]


def test_test_message_says_what_the_receiver_answered(run, receiver, endpoint):
    code, told = run("test", endpoint.number, "--json")
    assert (code, told["answer"], told["taken"]) == (0, "200", True)
    receiver.usual = status(500)
    code, told = run("test", endpoint.number, "--json")
    assert (code, told["answer"], told["taken"]) == (1, "500", False)


def test_what_was_given_up_waits_again(run, endpoint):
    tell("N1")
    Delivery.objects.update(status="DEAD")
    assert run("resend", endpoint.number, "--json") == (0, {"number": endpoint.number, "waiting_again": 1})


def test_switched_on_and_removed(run, endpoint):
    assert run("off", endpoint.number)[0] == 0
    assert run("on", endpoint.number)[0] == 0
    assert run("remove", endpoint.number)[0] == 0
    assert run("list", "--json") == (0, [])


def test_second_change_of_the_secret_is_refused_while_the_former_one_counts(run, endpoint):
    assert run("rotate", endpoint.number)[0] == 0
    code, words = run("rotate", endpoint.number)
    assert code == 1
    assert "the former one counts until" in words


def test_secret_that_nobody_kept_is_changed_again_by_ending_both(run, endpoint):
    run("rotate", endpoint.number)
    code, told = run("rotate", endpoint.number, "--old-for=0", "--json")
    assert (code, told["secret"][:6]) == (0, "whsec_")
    assert Endpoint.objects.get().old_secret == ""


def test_what_it_does_stands_in_the_history_of_staff_without_any_secret(run, receiver):
    receiver.answers.append(status(200))
    _, made = run("add", f"{receiver.url}/hook?key=s3cr3t", "--by", "ines", "--json")
    number = made["number"]
    for act in ("test", "rotate", "off", "on", "resend", "remove"):
        run(act, number)
    told = StaffAction.objects.order_by("id").values_list("actor", "action", "subject", "result")
    assert list(told) == [
        ("ines", "add_endpoint", number, "host=127.0.0.1"),
        ("command line", "test_endpoint", number, "answer=200 taken=True"),
        ("command line", "rotate_secret", number, "old_for_h=24"),
        ("command line", "switch_off_endpoint", number, "state=off"),
        ("command line", "switch_on_endpoint", number, "state=on waiting=0"),
        ("command line", "resend_dead", number, "waiting_again=0"),
        ("command line", "remove_endpoint", number, "state=removed"),
    ]


def test_moved_endpoint_is_told_at_its_new_address(run, receiver, endpoint):
    code, told = run("move", endpoint.number, f"{receiver.url}/new", "--json")
    assert (code, told) == (0, {"number": endpoint.number, "state": "moved", "host": "127.0.0.1"})
    assert Endpoint.objects.get().url == f"{receiver.url}/new"


@pytest.mark.parametrize("act", ["rotate", "off", "on", "test", "resend", "remove"])
def test_number_in_small_letters_is_found_and_told_as_it_is(run, endpoint, act):
    code, told = run(act, endpoint.number.lower(), "--json")
    assert (code, told["number"]) == (0, endpoint.number)


@pytest.mark.parametrize("hours", ["-1", "721"])
def test_time_for_which_no_former_secret_counts_is_exit_two(run, endpoint, hours):
    assert run("rotate", endpoint.number, "--old-for", hours) == (
        2,
        "The old secret may count for 0 to 720 hours.",
    )


@pytest.mark.parametrize(
    ("args", "because"),
    [
        (("on",), "Which one"),
        (("on", UNKNOWN), "no endpoint"),
        (("add", "http://127.1/"), "no usual way"),
        (("add", "https://erp.example.com/", "--type=order.lost"), "order.lost"),
        (("resend", UNKNOWN, "--since=yesterday"), "'yesterday' is no time; write one like"),
        (("resend", UNKNOWN, "--since=2026-03-01T14:30:00"), "needs a zone"),
        (("list", "extra"), "'extra' has no meaning for list"),
        (("off", UNKNOWN, "extra"), "'extra' has no meaning for off"),
        (("move", UNKNOWN), "Where to"),
        (("rotate", UNKNOWN, "--old-for=0"), "no endpoint"),
    ],
    ids=["nothing", "unknown", "address", "type", "time", "zone", "list", "more", "nowhere", "rotate"],
)
def test_what_makes_no_sense_is_exit_two(run, args, because):
    code, words = run(*args)
    assert code == 2
    assert because in words
