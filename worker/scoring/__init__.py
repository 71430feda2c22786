"""What a scoring process does with one delivery: read, decode, score in batches, record.

`pipeline` knows neither Celery nor SQL; `outcome_writer` alone writes to the ledger.
"""
