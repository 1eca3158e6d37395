"""Two languages: how each of them writes amounts, days and lists, who is spoken to in which, and who never is."""

import asyncio
from datetime import UTC, date, datetime

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from shop import languages
from shop.languages import LANGUAGES, speaking
from shop.middleware import LanguageMiddleware
from shop.money import for_people

# Late in the evening in UTC it is the next day in the shop.
LATE = datetime(2026, 9, 2, 18, 4, tzinfo=UTC)
ENGLISH, CHINESE = (code for code, _name in LANGUAGES)


@pytest.mark.parametrize(
    ("amount", "currency", "english", "chinese"),
    [
        (12900, "CNY", "¥129.00", "¥129.00"),
        (123456, "USD", "$1,234.56", "US$1,234.56"),
        (6400, "BRL", "R$64.00", "R$64.00"),
        (700, "EUR", "EUR 7.00", "EUR 7.00"),
        (1234, "JPY", "JPY 1,234", "JPY 1,234"),
        (-100, "CNY", "¥-1.00", "¥-1.00"),
        (10**13, "CNY", "¥100,000,000,000.00", "¥100,000,000,000.00"),
    ],
)
def test_amount_is_written_as_its_readers_write_it(amount, currency, english, chinese):
    for code, text in ((ENGLISH, english), (CHINESE, chinese)):
        with speaking(code):
            assert for_people(amount, currency) == text


@pytest.mark.parametrize(
    ("code", "texts"),
    [
        (ENGLISH, ["02:04", "3 Sep", "3 Sep 02:04", "3 September 2026"]),
        (CHINESE, ["02:04", "9月3日", "9月3日 02:04", "2026年9月3日"]),
    ],
)
def test_moment_is_shown_in_the_zone_of_the_shop(code, texts, settings):
    settings.DISPLAY_TIME_ZONE = "Asia/Shanghai"
    shown = (languages.clock, languages.day, languages.day_clock, languages.long_day)
    with speaking(code):
        assert [show(LATE) for show in shown] == texts
        assert languages.long_day(date(2026, 9, 3)) == texts[-1]
        assert languages.clock(LATE.replace(tzinfo=None)) == "18:04"


@pytest.mark.parametrize(
    ("names", "english", "chinese"),
    [
        ([], "", ""),
        (["A"], "A", "A"),
        (["A", "B", "A"], "A and B", "A和B"),
        (["A", "B", "C"], "A, B and C", "A、B和C"),
    ],
)
def test_names_stand_in_a_sentence_each_once(names, english, chinese):
    for code, text in ((ENGLISH, english), (CHINESE, chinese)):
        with speaking(code):
            assert languages.join_names(names) == text


def test_speaking_ends_with_its_block_and_knows_only_our_languages():
    with speaking(CHINESE):
        assert (languages.current(), languages.tag(), _("Cart")) == (CHINESE, "zh-Hans", "购物车")
        with speaking("fr"):
            assert (languages.current(), languages.tag(), _("Cart")) == (ENGLISH, "en", "Cart")
        assert languages.current() == CHINESE
    assert languages.current() == ENGLISH


def answer_to(path: str = "/", cookie: str = "", **headers: str) -> HttpResponse:
    """What the middleware makes of an answer that says in which language it was made."""
    request = RequestFactory(headers=headers).get(path)
    if cookie:
        request.COOKIES[settings.LANGUAGE_COOKIE_NAME] = cookie
    answer: HttpResponse = LanguageMiddleware(lambda _request: HttpResponse(get_language()))(request)
    return answer


@pytest.mark.parametrize(
    "wanted", ["zh", "zh-CN", "zh-Hans", "zh-Hans-CN", "zh-TW", "zh-HK,en;q=0.5", "ja,zh;q=0.9"]
)
def test_browser_that_wants_chinese_gets_chinese(wanted):
    answer = answer_to(accept_language=wanted)
    assert (answer.content.decode(), answer.headers["Content-Language"]) == (CHINESE, "zh-Hans")
    assert set(answer.headers["Vary"].split(", ")) == {"Accept-Language", "Cookie"}


@pytest.mark.parametrize("wanted", ["", "en", "en-GB", "de,fr;q=0.5", "*", "en,zh;q=0.9", "\x00", "z" * 5000])
def test_every_other_browser_gets_english(wanted):
    answer = answer_to(accept_language=wanted)
    assert (answer.content.decode(), answer.headers["Content-Language"]) == (ENGLISH, "en")


@pytest.mark.parametrize(
    ("cookie", "wanted", "spoken"),
    [(ENGLISH, "zh", ENGLISH), (CHINESE, "en", CHINESE), ("fr", "zh", CHINESE), ("../../etc", "en", ENGLISH)],
)
def test_what_the_switch_chose_goes_before_the_browser(cookie, wanted, spoken):
    assert answer_to(cookie=cookie, accept_language=wanted).content.decode() == spoken


@pytest.mark.parametrize("path", ["/notify/wechat/", "/notify/alipay", "/healthz", "/readyz"])
def test_protocols_know_no_languages(path):
    answer = answer_to(path, cookie=CHINESE, accept_language="zh")
    assert answer.content.decode() == ENGLISH
    assert not {"Content-Language", "Vary"} & set(answer.headers)


def test_language_of_a_request_is_not_left_to_the_next():
    answer_to(accept_language="zh")
    assert get_language() == ENGLISH


def test_requests_that_wait_at_the_same_time_keep_their_own_language():
    async def spoken(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0)
        return HttpResponse(get_language())

    async def both() -> list[str]:
        requests = (
            RequestFactory(headers={"accept-language": wanted}).get("/") for wanted in ("zh", "en", "zh")
        )
        answers = await asyncio.gather(*map(LanguageMiddleware(spoken), requests))
        return [answer.content.decode() for answer in answers]

    assert asyncio.run(both()) == [CHINESE, ENGLISH, CHINESE]


@pytest.mark.django_db
def test_switch_remembers_the_language_and_comes_back_to_the_page():
    shopper = Client()
    answer = shopper.post("/language/", {"language": CHINESE, "next": "/cart/?a=1"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/cart/?a=1")
    cookie = shopper.cookies[settings.LANGUAGE_COOKIE_NAME]
    assert (cookie.value, cookie["samesite"], cookie["httponly"]) == (CHINESE, "Lax", True)
    assert '<html lang="zh-Hans">' in shopper.get("/cart/").content.decode()
    shopper.post("/language/", {"language": ENGLISH, "next": "/"})
    assert '<html lang="en">' in shopper.get("/", headers={"accept-language": "zh"}).content.decode()


@pytest.mark.parametrize("sent", [{"language": "fr"}, {"language": "../../x"}, {"language": ""}, {}])
def test_switch_to_a_language_that_is_not_ours_changes_nothing(sent):
    shopper = Client()
    assert shopper.post("/language/", sent | {"next": "//elsewhere.example/"}).headers["Location"] == "/"
    assert '<html lang="en">' in shopper.get("/language/x").content.decode()


def test_looking_at_the_switch_changes_nothing():
    shopper = Client()
    shopper.get("/language/", {"language": CHINESE})
    assert settings.LANGUAGE_COOKIE_NAME not in shopper.cookies
