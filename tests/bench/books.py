"""`python -m tests.bench.books`: a statement of a million lines against a million payments, as a multiple of COPY.

`reconcile` runs as the command, in a process of its own: what it takes in, compares and sums up is set against PostgreSQL
copying the same file, line by line, into a table. Exit 0; 2 when what was found is not what was planted.
"""

import argparse
import json
import os
import sys
import time
from contextlib import suppress
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any

from payments.sandbox.clock import BEIJING
from tests.bench.ground import prepared
from tests.programs import MANAGE

DAY = date(2026, 11, 20)
# One line of so many lacks in each of the books.
LACKS_EVERY = 100_000
MEGABYTE = 1024
PREPARE = Path(__file__).with_name("books.sql")
TOUCHED = ("orders_order", "payments_payment", "payments_receipt")
HEAD = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,"
    "手续费,费率,订单金额,申请退款金额,费率备注"
)
TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
AMOUNT, FEE = 12900, "0.77000"


def main() -> int:
    """Run what the options say."""
    options = _read_options()
    with prepared() as keys:
        folder = Path(os.environ["NODROP_DATA_DIR"])
        bill = folder / "bill.csv"
        size = _write_bill(bill, options.lines, keys.mchid)
        _make_payments(options.lines)
        rounds = [_run_round(bill) for _ in range(options.rounds)]
    result = {"lines": options.lines, "megabytes": size // MEGABYTE**2, "rounds": rounds}
    print(json.dumps(result) if options.json else _describe(result))
    planted = -(-options.lines // LACKS_EVERY)
    found = {(each["missing"], each["unsettled"]) for each in rounds}
    return 0 if found == {(planted, planted)} else 2


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.bench.books", description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def _write_bill(path: Path, lines: int, mchid: str) -> int:
    """WeChat's bill of the day: every payment but one of so many. Returns its size in bytes."""
    count = 0
    with path.open("w", encoding="utf-8-sig", newline="\r\n") as file:
        file.write(f"{HEAD}\n")
        for number in range(lines):
            if number % LACKS_EVERY != 1:
                file.write(_line(number, mchid))
                count += 1
        total = f"{count * AMOUNT / 100:.2f}"
        values = (str(count), total, "0.00", "0.00", "0.00000", total, "0.00")
        file.write(f"{TOTALS}\n" + ",".join(f"`{value}" for value in values) + "\n")
    return path.stat().st_size


def _line(number: int, mchid: str) -> str:
    at = datetime.combine(DAY, clock_time(1)) + timedelta(seconds=number % 72_000)
    values = (
        f"{at:%Y-%m-%d %H:%M:%S}", "wxd678efh567hg6787", mchid, "0", "", f"42{number:026}", f"P{number:023}",
        "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "NATIVE", "SUCCESS", "OTHERS", "CNY", "129.00", "0.00", "0", "0", "0.00",
        "0.00", "", "", "Tea", "", FEE, "0.60%", "129.00", "0.00", "",
    )  # fmt: skip
    return ",".join(f"`{value}" for value in values) + "\n"


def _make_payments(lines: int) -> None:
    """Orders, payments and receipts of that day; one receipt of so many lacks."""
    from django.db import connection

    start = datetime.combine(DAY, clock_time(1), BEIJING)
    with connection.cursor() as cursor:
        cursor.execute("set statement_timeout = 0")
        for table in TOUCHED:
            cursor.execute(f"alter table {table} disable trigger user")
        facts: dict[str, Any] = {"lines": lines, "start": start, "amount": AMOUNT, "every": LACKS_EVERY}
        for statement in PREPARE.read_text(encoding="utf-8").split(";\n"):
            cursor.execute(statement, facts)
        for table in TOUCHED:
            cursor.execute(f"alter table {table} enable trigger user")
            cursor.execute(f"vacuum analyze {table}")
    connection.close()


def _run_round(bill: Path) -> dict[str, Any]:
    copied_s = _copy(bill)
    began = time.monotonic()
    done, peak_kb = _reconcile(bill)
    seconds = time.monotonic() - began
    document = json.loads(done)
    kinds = [difference["kind"] for difference in document["differences"]]
    again = time.monotonic()
    _reconcile(bill)
    return {
        "copy_s": copied_s,
        "reconcile_s": seconds,
        "again_s": time.monotonic() - again,
        "multiple": seconds / copied_s,
        "peak_mb": peak_kb / MEGABYTE,
        "missing": kinds.count("missing"),
        "unsettled": kinds.count("unsettled"),
        "rest": document["totals"]["CNY"]["rest"],
    }


def _copy(bill: Path) -> float:
    """Seconds that PostgreSQL needs to copy the same file into a table of the same entries, with the same indexes."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("set statement_timeout = 0")
        cursor.execute("drop table if exists bench_copy")
        cursor.execute("create table bench_copy (id bigserial primary key, line text)")
        began = time.monotonic()
        with bill.open("rb") as file, cursor.copy("copy bench_copy (line) from stdin") as copy:
            while block := file.read(1 << 20):
                copy.write(block)
        seconds = time.monotonic() - began
        cursor.execute("drop table bench_copy")
    connection.close()
    return seconds


def _reconcile(bill: Path) -> tuple[str, int]:
    """What `reconcile --file` prints, and the most memory that its process ever held, in kilobytes."""
    words = ["reconcile", "--channel", "wechat", "--date", DAY.isoformat(), "--file", str(bill), "--json"]
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            os.dup2(write, 1)
            os.execve(MANAGE[0], [*map(str, MANAGE), *words], os.environ | {"LOG_LEVEL": "ERROR"})
        os._exit(127)
    os.close(write)
    with os.fdopen(read) as output:
        text = output.read()
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise RuntimeError(f"reconcile ended with {status}: {text}")
    return text, usage.ru_maxrss


def _describe(result: dict[str, Any]) -> str:
    lines = [
        f"COPY {each['copy_s']:.1f} s, reconcile {each['reconcile_s']:.1f} s = {each['multiple']:.1f} times COPY,"
        f" again {each['again_s']:.1f} s, at most {each['peak_mb']:.0f} MB,"
        f" missing {each['missing']}, unsettled {each['unsettled']}, rest {each['rest']}"
        for each in result["rounds"]
    ]
    return "\n".join([f"{result['lines']:,} lines, {result['megabytes']} MB", *lines])


if __name__ == "__main__":
    sys.exit(main())
