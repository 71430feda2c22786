"""The queue: messages and their envelope, Celery's settings, the embedded broker, heartbeats, and lost work.

What is in a message beyond ids and places is SQL's to say.
"""
