"""The Studio in a real browser over the real service: first view, scrubbing, a long list, many pages at once."""
