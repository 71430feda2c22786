"""Reads the weights of a DenseNet from files that others made: safetensors with PyTorch's names, and Keras' files."""
