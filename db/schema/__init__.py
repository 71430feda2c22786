"""The tables, the public views over them, and the roles that may read the views.

`db.migrations` has the steps from one revision to the next; `db.ledger` has the statements that read and write.
"""
