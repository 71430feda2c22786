"""Films and class activation maps, by the worker's own functions.

Importing `films` loads the decoders, and the first map loads TensorFlow.
"""
