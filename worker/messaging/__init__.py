"""The queue: messages and their envelope, Celery's settings, the embedded broker, heartbeats, and lost work.

A message holds ids and locations; SQL has everything else.
"""
