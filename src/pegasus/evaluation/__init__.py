"""How good summaries are: ROUGE with intervals, other measures, baselines, reports."""
