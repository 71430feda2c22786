"""The tables, the public views over them, and who may read the views.

The steps from one revision to the next are in `db.migrations`; statements that read and write are in `db.ledger`.
"""
