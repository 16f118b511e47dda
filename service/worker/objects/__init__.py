"""The object process of a slot: it reads and writes objects for the codec process, which has neither keys nor files."""
