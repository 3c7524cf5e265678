"""What is said next: settings, searches, processors, and the one contract between a search and a device.

A search asks, a session answers with numbers (``session.py``). Every search runs on the host, in NumPy,
and is written once for every backend.
"""
