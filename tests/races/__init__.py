"""Races on real PostgreSQL: everything that can happen twice at once, with Redis up, frozen and absent."""
