"""Fits the model and publishes the artifact that workers load."""
