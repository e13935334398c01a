"""What happens beside training: evaluations, pictures, and the record of a run."""
