"""Connections and transactions on SQLite and PostgreSQL: engines, locks, bulk inserts, the driver's errors.

`db.schema` defines the tables; no statement here names one of them.
"""
