"""Learning: jobs, the loop, its journal and its checkpoints; no framework is named here."""
