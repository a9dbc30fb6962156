"""Benchmarks: one command each, beside a rival in the same run, medians of several rounds."""
