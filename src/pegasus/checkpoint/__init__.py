"""Numbers ↔ disk: the files of a checkpoint, read and written without any framework."""
