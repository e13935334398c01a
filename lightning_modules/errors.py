"""What a user can cause."""


class ModelError(Exception):
    """A model, checkpoint or run that cannot go on. The message is for the user: one sentence, and the way
    out.
    """
