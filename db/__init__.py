"""The ground floor: vocabulary, tables, every SQL statement, metrics. Imports nothing of ours."""
