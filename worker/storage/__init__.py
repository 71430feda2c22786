"""Lists and reads images in folders and S3, matches their names, and explains what a store refuses.

`worker.images` decodes what is read.
"""
