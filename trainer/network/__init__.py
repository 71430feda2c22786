"""The Keras model: encoders, its compilation for a fit, batches, predictions and hardware. It reads no labels."""
