"""How well questions are answered by a model, over a catalogue whose answers are known."""
