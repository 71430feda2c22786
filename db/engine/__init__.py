"""Connections and transactions on SQLite and PostgreSQL: engines, locks, bulk inserts, the driver's errors.

Which tables there are is in `db.schema`; no statement here names one of them.
"""
