"""Telling the shop's other systems what happened: publishing events, and delivering them to endpoints."""
