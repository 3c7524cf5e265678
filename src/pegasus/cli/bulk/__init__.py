"""Bulk jobs: one input in parts, which any number of processes on any number of machines share."""
