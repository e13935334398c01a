"""Pictures that are drawn instead of read: scenes of coloured shapes, and digits."""
