"""The Keras model: encoders, compiled train and predict steps, batches, hardware. No files, no labels."""
