"""API doors of the money. What may go wrong behind them, `problems` says in the words of the API."""

from payments.api import problems as problems
