"""The `pegasus` command: `app` and one file a verb. Nothing heavy is imported before a verb runs."""
