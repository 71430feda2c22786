"""`producer nightly`: what is new is enqueued at a time of day, and each night's summary is sent."""
