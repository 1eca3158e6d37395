"""The channels' other side: a gateway that speaks their real protocols, for the demo and for every test.

One process, one port, its own ledger of the money; it shares nothing with the shop but HTTP and imports
nothing of it, so that each protocol is written twice on purpose. It never handles real money or real keys.
"""
