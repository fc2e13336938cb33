"""A case from data to files: evaluator, writers, truth, agreement, figures."""
