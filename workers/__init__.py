"""Celery workers: long work in short, repeatable chunks; the truth about every job lies in the graph."""
