"""Where images and models lie: folders and S3; listing, reading and matching names, and what a store refuses.

What is inside an image is `worker.images`' to know.
"""
